package enginetest

import (
	"context"
	"fmt"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// drain sweeps, as ttl.Sweeper does, until nothing is due at now. It returns the deadline
// that comes next.
func drain(ctx context.Context, e storage.Engine, now ttl.Instant, budget int) (ttl.Instant, error) {
	for range maxBatches {
		n, next, err := e.Sweep(ctx, now, budget)
		switch {
		case err != nil:
			return ttl.Never, fmt.Errorf("sweep at %d: %w", now, err)
		case n < 0 || n > budget:
			return ttl.Never, fmt.Errorf("sweep at %d deals with %d entries, the budget is %d", now, n, budget)
		case n < budget && !next.Due(now):
			return next, nil
		}
	}
	return ttl.Never, fmt.Errorf("sweep at %d does not end: %d batches of %d", now, maxBatches, budget)
}

// maxBatches is more than any test in this package has work for.
const maxBatches = 10_000
