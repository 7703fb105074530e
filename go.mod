module github.com/holdfast-dev/holdfast

go 1.26.0

replace github.com/holdfast-dev/holdfast/archive => ./archive

replace github.com/holdfast-dev/holdfast/destination => ./destination

replace github.com/holdfast-dev/holdfast/events => ./events

replace github.com/holdfast-dev/holdfast/events/bus => ./events/bus

replace github.com/holdfast-dev/holdfast/internal => ./internal

replace github.com/holdfast-dev/holdfast/project => ./project

replace github.com/holdfast-dev/holdfast/services/backup => ./services/backup

replace github.com/holdfast-dev/holdfast/services/catalog => ./services/catalog

replace github.com/holdfast-dev/holdfast/services/gateway => ./services/gateway

require (
	filippo.io/age v1.3.2
	github.com/holdfast-dev/holdfast/archive v0.0.0
	github.com/holdfast-dev/holdfast/destination v0.0.0-00010101000000-000000000000
	github.com/holdfast-dev/holdfast/events v0.0.0
	github.com/holdfast-dev/holdfast/events/bus v0.0.0-00010101000000-000000000000
	github.com/holdfast-dev/holdfast/internal v0.0.0
	github.com/holdfast-dev/holdfast/project v0.0.0
	github.com/holdfast-dev/holdfast/services/backup v0.0.0
	github.com/holdfast-dev/holdfast/services/catalog v0.0.0-00010101000000-000000000000
	github.com/holdfast-dev/holdfast/services/gateway v0.0.0-00010101000000-000000000000
	github.com/holdfast-dev/holdfast/services/restore v0.0.0-00010101000000-000000000000
	github.com/holdfast-dev/holdfast/testenv v0.0.0-00010101000000-000000000000
	github.com/jackc/pgx/v5 v5.12.0
	github.com/spf13/cobra v1.10.2
	go.uber.org/zap v1.28.0
)

require (
	filippo.io/hpke v0.4.0 // indirect
	github.com/ThreeDotsLabs/watermill v1.5.1 // indirect
	github.com/andybalholm/brotli v1.1.0 // indirect
	github.com/antithesishq/antithesis-sdk-go v0.8.0-default-no-op // indirect
	github.com/beorn7/perks v1.0.1 // indirect
	github.com/bmatcuk/doublestar/v4 v4.9.1 // indirect
	github.com/cenkalti/backoff/v5 v5.0.3 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/dustin/go-humanize v1.1.0 // indirect
	github.com/goccy/go-yaml v1.19.2 // indirect
	github.com/gofiber/fiber/v2 v2.52.15 // indirect
	github.com/gogo/protobuf v1.3.2 // indirect
	github.com/google/go-tpm v0.9.8 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/jackc/pgpassfile v1.0.0 // indirect
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	github.com/joho/godotenv v1.5.1 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/lithammer/shortuuid/v3 v3.0.7 // indirect
	github.com/mattn/go-colorable v0.1.13 // indirect
	github.com/mattn/go-isatty v0.0.24 // indirect
	github.com/mattn/go-runewidth v0.0.16 // indirect
	github.com/minio/highwayhash v1.0.4 // indirect
	github.com/munnerz/goautoneg v0.0.0-20191010083416-a7dc8b61c822 // indirect
	github.com/nats-io/jwt/v2 v2.8.2 // indirect
	github.com/nats-io/nats-server/v2 v2.15.2 // indirect
	github.com/nats-io/nats.go v1.55.0 // indirect
	github.com/nats-io/nkeys v0.4.16 // indirect
	github.com/nats-io/nuid v1.0.1 // indirect
	github.com/ncruces/go-strftime v1.1.0 // indirect
	github.com/oklog/ulid v1.3.1 // indirect
	github.com/pkg/errors v0.9.1 // indirect
	github.com/prometheus/client_golang v1.25.0 // indirect
	github.com/prometheus/client_model v0.6.3 // indirect
	github.com/prometheus/common v0.72.0 // indirect
	github.com/prometheus/procfs v0.22.0 // indirect
	github.com/remyoudompheng/bigfft v0.0.0-20230129092748-24d4a6f8daec // indirect
	github.com/rivo/uniseg v0.2.0 // indirect
	github.com/sony/gobreaker v1.0.0 // indirect
	github.com/spf13/pflag v1.0.9 // indirect
	github.com/synadia-io/orbit.go/jetstreamext v0.3.2 // indirect
	github.com/synadia-io/orbit.go/natsext v0.1.3 // indirect
	github.com/valyala/bytebufferpool v1.0.0 // indirect
	github.com/valyala/fasthttp v1.51.0 // indirect
	github.com/valyala/tcplisten v1.0.0 // indirect
	go.uber.org/multierr v1.10.0 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	golang.org/x/time v0.16.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
	modernc.org/libc v1.80.1 // indirect
	modernc.org/mathutil v1.7.1 // indirect
	modernc.org/memory v1.12.1 // indirect
	modernc.org/sqlite v1.62.0 // indirect
)

replace github.com/holdfast-dev/holdfast/testenv => ./testenv

replace github.com/holdfast-dev/holdfast/services/restore => ./services/restore
