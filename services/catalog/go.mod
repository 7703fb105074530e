module github.com/holdfast-dev/holdfast/services/catalog

go 1.26.0
