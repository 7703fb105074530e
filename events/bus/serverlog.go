package bus

import (
	"fmt"

	"go.uber.org/zap"
)

// serverLog writes what the embedded server says into zap. Its notices are about its
// start and stop.
type serverLog struct {
	l     *zap.SugaredLogger
	fatal chan<- string // takes why the server cannot run
}

// Noticef implements server.Logger.
func (s serverLog) Noticef(format string, v ...any) { s.l.Debugf(format, v...) }

// Warnf implements server.Logger.
func (s serverLog) Warnf(format string, v ...any) { s.l.Warnf(format, v...) }

// Errorf implements server.Logger.
func (s serverLog) Errorf(format string, v ...any) { s.l.Errorf(format, v...) }

// Fatalf implements server.Logger. The server ends by itself, this process need not.
func (s serverLog) Fatalf(format string, v ...any) {
	s.l.Errorf(format, v...)
	select {
	case s.fatal <- fmt.Sprintf(format, v...):
	default: // the first says enough
	}
}

// Debugf implements server.Logger.
func (serverLog) Debugf(string, ...any) {}

// Tracef implements server.Logger.
func (serverLog) Tracef(string, ...any) {}
