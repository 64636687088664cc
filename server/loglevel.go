package server

import (
	"context"
	"log/slog"
	"strings"
)

// logLevels are Redis' names of the log levels, the most talkative first.
var logLevels = [...]struct {
	name  string
	level slog.Level
}{
	{"debug", slog.LevelDebug},
	{"verbose", levelVerbose},
	{"notice", slog.LevelInfo},
	{"warning", slog.LevelWarn},
}

// LogLevelName returns Redis' name for the level of a logger.
func LogLevelName(log *slog.Logger) string {
	var name string
	for _, x := range logLevels {
		if name = x.name; log.Enabled(context.Background(), x.level) {
			break
		}
	}
	return name
}

// parseLogLevel returns the level of a name: debug, verbose, notice or warning.
func parseLogLevel(name string) (level slog.Level, ok bool) {
	for _, x := range logLevels {
		if strings.EqualFold(x.name, name) {
			return x.level, true
		}
	}
	return 0, false
}

func setLogLevel(s *Settings, v []byte) error {
	if _, ok := parseLogLevel(string(v)); !ok {
		return oneOf("debug", "verbose", "notice", "warning")(v)
	}
	s.LogLevel = strings.ToLower(string(v))
	return nil
}

func logLevelFits(s *Server, now, next Settings) error {
	if s.logLevel == nil && now.LogLevel != next.LogLevel {
		return settingError("the log is that of the program that serves, which keeps its level")
	}
	return nil
}

// applyLogLevel does nothing if the server cannot change the level: logLevelFits has accepted only
// the present one.
func applyLogLevel(c *call, v []byte) {
	if level, ok := parseLogLevel(string(v)); ok && c.srv.logLevel != nil {
		c.srv.logLevel.Set(level)
	}
}
