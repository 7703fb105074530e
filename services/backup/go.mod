module github.com/holdfast-dev/holdfast/services/backup

go 1.26.0
