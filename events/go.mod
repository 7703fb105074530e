module github.com/holdfast-dev/holdfast/events

go 1.26.0
