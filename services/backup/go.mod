module github.com/holdfast-dev/holdfast/services/backup

go 1.26.0

require (
	filippo.io/age v1.3.2
	github.com/holdfast-dev/holdfast/archive v0.0.0
	github.com/holdfast-dev/holdfast/destination v0.0.0-00010101000000-000000000000
	github.com/holdfast-dev/holdfast/events v0.0.0-00010101000000-000000000000
	github.com/holdfast-dev/holdfast/internal v0.0.0-00010101000000-000000000000
	github.com/holdfast-dev/holdfast/project v0.0.0-00010101000000-000000000000
	go.uber.org/zap v1.28.0
)

require (
	filippo.io/hpke v0.4.0 // indirect
	github.com/bmatcuk/doublestar/v4 v4.9.1 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/jackc/pgpassfile v1.0.0 // indirect
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	github.com/jackc/pgx/v5 v5.12.0 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/xdg-go/stringprep v1.0.4 // indirect
	go.uber.org/multierr v1.10.0 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
)

replace github.com/holdfast-dev/holdfast/archive => ../../archive

replace github.com/holdfast-dev/holdfast/destination => ../../destination

replace github.com/holdfast-dev/holdfast/events => ../../events

replace github.com/holdfast-dev/holdfast/internal => ../../internal

replace github.com/holdfast-dev/holdfast/project => ../../project
