module github.com/holdfast-dev/holdfast/internal

go 1.26.0

require (
	github.com/goccy/go-yaml v1.19.2
	go.uber.org/zap v1.28.0
	golang.org/x/sync v0.24.0
)

require (
	github.com/stretchr/testify v1.12.1 // indirect
	go.uber.org/multierr v1.10.0 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
)
