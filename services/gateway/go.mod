module github.com/holdfast-dev/holdfast/services/gateway

go 1.26.0
