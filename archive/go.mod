module github.com/holdfast-dev/holdfast/archive

go 1.26.0
