module github.com/holdfast-dev/holdfast/destination

go 1.26.0
