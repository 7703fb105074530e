module github.com/holdfast-dev/holdfast/project

go 1.26.0
