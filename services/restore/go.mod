module github.com/holdfast-dev/holdfast/services/restore

go 1.26.0

require (
	github.com/holdfast-dev/holdfast/archive v0.0.0
	github.com/holdfast-dev/holdfast/events v0.0.0
	github.com/holdfast-dev/holdfast/internal v0.0.0
	github.com/holdfast-dev/holdfast/project v0.0.0
	github.com/holdfast-dev/holdfast/services/backup v0.0.0
)
