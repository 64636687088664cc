package main

import (
	"math"
	"testing"
	"time"
)

// Ensure that a quantile is at most 3.2 % above the true one and never below it.
func TestHistogram_Quantile(t *testing.T) {
	t.Parallel()
	for _, step := range []time.Duration{1, 17, 1000, time.Millisecond} {
		var low, high, all histogram
		for i := range 1000 { // two halves, merged: 1 to 1000 steps
			half := &low
			if i >= 500 {
				half = &high
			}
			half.add(time.Duration(i+1) * step)
		}
		all.merge(&low)
		all.merge(&high)
		for _, q := range []float64{0.001, 0.5, 0.99, 0.999, 1} {
			exact := time.Duration(q*1000) * step
			got := all.quantile(q)
			if got < exact || float64(got) > 1.032*float64(exact) {
				t.Errorf("steps of %v: quantile %v = %v, want %v or little more", step, q, got, exact)
			}
		}
	}
}

// Ensure that every duration has a bucket, and that buckets follow one another without gap.
func TestHistogram_Buckets(t *testing.T) {
	t.Parallel()
	var h histogram
	if got := h.quantile(0.99); got != 0 {
		t.Errorf("quantile of nothing = %v, want 0", got)
	}
	h.add(-1)
	h.add(math.MaxInt64)
	if got := h.quantile(1); got != math.MaxInt64 {
		t.Errorf("the longest of all = %d, want %d", got, math.MaxInt64)
	}
	for bucket := range len(h.counts) - 1 {
		end := bucketEnd(bucket)
		if bucketOf(end) != bucket || bucketOf(end+1) != bucket+1 {
			t.Fatalf("bucket %d: %d is in bucket %d, %d in %d", bucket, end, bucketOf(end), end+1, bucketOf(end+1))
		}
	}
}
