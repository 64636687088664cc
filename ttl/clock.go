package ttl

import (
	"context"
	"sync"
	"time"
)

// Clock tells the time. Implementations are safe for concurrent use.
type Clock interface {
	// Now returns the current instant.
	Now() Instant
	// Sleep returns nil after d, or ctx's error if ctx ends first.
	Sleep(ctx context.Context, d time.Duration) error
}

// System is the wall clock of the machine.
var System Clock = systemClock{}

type systemClock struct{}

func (systemClock) Now() Instant { return Of(time.Now()) }

func (systemClock) Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Manual is a Clock for tests. It moves only by Set and Advance. Create it with NewManual.
type Manual struct {
	mu    sync.Mutex
	now   Instant
	moved chan struct{} // closed and replaced whenever now changes
}

// NewManual returns a clock that stands at now.
func NewManual(now Instant) *Manual {
	return &Manual{now: now, moved: make(chan struct{})}
}

// Now returns the instant the clock was last set to.
func (m *Manual) Now() Instant {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// Set moves the clock to now, backwards too.
func (m *Manual) Set(now Instant) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.setLocked(now)
}

// Advance moves the clock by d.
func (m *Manual) Advance(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.setLocked(m.now.Add(d))
}

func (m *Manual) setLocked(now Instant) {
	m.now = now
	close(m.moved)
	m.moved = make(chan struct{})
}

// Sleep returns once the clock has been moved d past the instant of the call.
func (m *Manual) Sleep(ctx context.Context, d time.Duration) error {
	until := m.Now().Add(d)
	if d%time.Millisecond > 0 {
		until++ // rounded up, so that Sleep never returns early
	}
	for {
		m.mu.Lock()
		now, moved := m.now, m.moved
		m.mu.Unlock()
		if now >= until {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
