package server

import (
	"math"
	"net"
	"strconv"
	"time"
)

// defaultKeepAlive is Redis' tcp-keepalive.
const defaultKeepAlive = 300 * time.Second

// The longest silence and the longest pause between probes that Linux takes. Redis' larger values
// leave the system's.
const longestKeepAlive = 32767 * time.Second

// keepAlive has the system probe a TCP connection that was silent for so long, and end it, as
// Redis has it, when three probes remain without an answer, with a third of that time between
// them. Zero has it never probe. Other connections stay as they are.
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
	// A client that has gone already shows at the first read. A system that lacks one of the numbers
	// probes by its own.
	_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{
		Enable: silence > 0, Idle: silence, Interval: max(silence/3/time.Second, 1) * time.Second, Count: 3,
	})
}

// keepAliveSetting makes what is given at the start a value of tcp-keepalive: whole seconds, zero
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
