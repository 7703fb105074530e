// Package logging builds the logger and names its fields.
package logging

import (
	"io"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// New returns a logger that writes one JSON object a line to w, from level up
// ("debug", "info", "warn", "error").
func New(w io.Writer, level string) (*zap.Logger, error) {
	l, err := zapcore.ParseLevel(level)
	if err != nil {
		return nil, err
	}
	enc := zap.NewProductionEncoderConfig()
	enc.TimeKey, enc.EncodeTime = "time", zapcore.RFC3339TimeEncoder
	return zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(enc), zapcore.Lock(zapcore.AddSync(w)), l)), nil
}

// Service names the service that logs.
func Service(name string) zap.Field { return zap.String("service", name) }

// Backup names a backup.
func Backup(id string) zap.Field { return zap.String("backup_id", id) }

// Restore names a restore.
func Restore(id string) zap.Field { return zap.String("restore_id", id) }

// Project names a project.
func Project(id string) zap.Field { return zap.String("project_id", id) }

// Destination names a destination.
func Destination(name string) zap.Field { return zap.String("destination", name) }

// Attempt is the number of an attempt.
func Attempt(n int) zap.Field { return zap.Int("attempt", n) }

// Revision is a position in the log.
func Revision(n uint64) zap.Field { return zap.Uint64("revision", n) }

// Correlation is the ID of the request that started it all.
func Correlation(id string) zap.Field { return zap.String("correlation_id", id) }

// Bytes is a size.
func Bytes(n int64) zap.Field { return zap.Int64("bytes", n) }

// Duration is how long something took.
func Duration(d time.Duration) zap.Field { return zap.Duration("duration", d) }
