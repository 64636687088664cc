package server

import (
	"math"
	"net"
	"strconv"
	"time"
)

// defaultKeepAlive is Redis' tcp-keepalive.
const defaultKeepAlive = 300 * time.Second

// longestKeepAlive is the longest silence, and the longest pause between probes, that Linux accepts.
// Redis accepts larger values, but then the defaults of the system stay in force.
const longestKeepAlive = 32767 * time.Second

// keepAlive makes the system probe a TCP connection that was silent for that time. As in Redis, the
// probes are a third of that time apart, and the system ends the connection after three without an
// answer. Zero turns probes off. Connections of other kinds are not changed.
func keepAlive(nc net.Conn, silence time.Duration) {
	if s, ok := nc.(secured); ok {
		nc = s.NetConn()
	}
	tcp, ok := nc.(interface {
		SetKeepAliveConfig(net.KeepAliveConfig) error
	})
	if !ok {
		return
	}
	silence = min(silence, longestKeepAlive)
	// If the client has gone already, the first read says so. A system that does not support one of
	// the numbers uses its own.
	_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{
		Enable: silence > 0, Idle: silence, Interval: max(silence/3/time.Second, 1) * time.Second, Count: 3,
	})
}

// keepAliveSetting converts Settings.TCPKeepAlive into a value of tcp-keepalive: whole seconds, zero
// for never.
func keepAliveSetting(given time.Duration) time.Duration {
	switch {
	case given == 0:
		return defaultKeepAlive
	case given < 0:
		return 0
	}
	return (min(given, math.MaxInt32*time.Second) - 1).Truncate(time.Second) + time.Second
}

func keepAliveParameter() parameter {
	return parameter{
		name: "tcp-keepalive",
		get:  func(s Settings) string { return strconv.Itoa(int(s.TCPKeepAlive / time.Second)) },
		set: func(s *Settings, v []byte) error {
			n, err := parseSetting(v, 0, math.MaxInt32)
			s.TCPKeepAlive = time.Duration(n) * time.Second
			return err
		},
	}
}
