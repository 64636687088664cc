package pebble

import (
	"math/bits"
	"sync"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/dirty"
)

// stripeCount is how many ranges of hashes there are: who holds a stripe has the part of the memory of
// that range to himself.
const stripeCount = dirty.Parts

// stripe serialises the updates of the keys whose hash begins with its number.
type stripe struct {
	sync.RWMutex
	// newest covers every change of the stripe's records that replies wait for. It is written
	// under Lock.
	newest storage.Barrier
	_      [64 - 24 - 8]byte // one cache line each
}

type stripes [stripeCount]stripe

func stripeOf(hash uint64) int { return dirty.PartOf(hash) }

// stripeSet is the stripes a transaction holds, one bit each. It locks them in ascending
// order, whatever the order they were added in.
type stripeSet [stripeCount / 64]uint64

func (s *stripeSet) add(i int) { s[i/64] |= 1 << (i % 64) }

func (s *stripeSet) addAll() {
	for w := range s {
		s[w] = ^uint64(0)
	}
}

func (s *stripeSet) each(in *stripes, do func(*stripe)) {
	for w, word := range s {
		for ; word != 0; word &= word - 1 {
			do(&in[w*64+bits.TrailingZeros64(word)])
		}
	}
}

func (s *stripeSet) lock(in *stripes)    { s.each(in, lockStripe) }
func (s *stripeSet) unlock(in *stripes)  { s.each(in, unlockStripe) }
func (s *stripeSet) rlock(in *stripes)   { s.each(in, rlockStripe) }
func (s *stripeSet) runlock(in *stripes) { s.each(in, runlockStripe) }

func lockStripe(s *stripe)    { s.Lock() }
func unlockStripe(s *stripe)  { s.Unlock() }
func rlockStripe(s *stripe)   { s.RLock() }
func runlockStripe(s *stripe) { s.RUnlock() }

// newest returns a barrier over every change of the records of s, which the caller holds.
func (s *stripeSet) newest(in *stripes) (b storage.Barrier) {
	for w, word := range s {
		for ; word != 0; word &= word - 1 {
			b = max(b, in[w*64+bits.TrailingZeros64(word)].newest)
		}
	}
	return b
}
