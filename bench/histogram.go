package main

import (
	"math"
	"math/bits"
	"time"
)

// histogram counts durations in buckets that are at most 3 % wide. The zero value is empty.
//
// Bucket numbers below 1<<bucketBits are nanoseconds. Above, each power of two is divided
// into 1<<bucketBits buckets of the same width.
type histogram struct {
	counts [(64 - bucketBits) << bucketBits]uint64
	total  uint64
}

const bucketBits = 5

func bucketOf(d time.Duration) int {
	ns := uint64(max(d, 0))
	shift := max(bits.Len64(ns)-1-bucketBits, 0)
	return shift<<bucketBits + int(ns>>shift)
}

// bucketEnd returns the longest duration that falls into the bucket.
func bucketEnd(bucket int) time.Duration {
	shift := max(bucket>>bucketBits-1, 0)
	head := uint64(bucket - shift<<bucketBits)
	return time.Duration((head+1)<<shift - 1)
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucketOf(d)]++
	h.total++
}

func (h *histogram) merge(other *histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.total += other.total
}

// quantile returns a duration that the share q of all are not longer than, 0 if there are
// none. It is rounded up to the end of a bucket.
func (h *histogram) quantile(q float64) time.Duration {
	rank := uint64(math.Ceil(q * float64(h.total)))
	var seen uint64
	for bucket, n := range h.counts {
		seen += n
		if n > 0 && seen >= rank {
			return bucketEnd(bucket)
		}
	}
	return 0
}
