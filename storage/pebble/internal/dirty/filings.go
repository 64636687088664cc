package dirty

import (
	"container/heap"
	"sync"
)

// Filing says that the index has to have a record at a time, and that the tree has not. It may be
// stale: the record has moved on.
type Filing struct {
	Due   int64 // Unix ms
	Place uint64
	Ref   Ref // in the table of the same generation
}

// Filings are those of a generation, the earliest first. All methods are safe for concurrent use.
type Filings struct {
	mu   sync.Mutex
	heap filingHeap
}

// Add adds filings.
func (f *Filings) Add(all ...Filing) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, x := range all {
		heap.Push(&f.heap, x)
	}
}

// Take takes out up to most filings that are due at a time or before.
func (f *Filings) Take(now int64, most int) (list []Filing) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.heap) > 0 && len(list) < most && f.heap[0].Due <= now {
		list = append(list, heap.Pop(&f.heap).(Filing))
	}
	return list
}

// First returns the filing that comes due next, if there is one.
func (f *Filings) First() (first Filing, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.heap) == 0 {
		return Filing{}, false
	}
	return f.heap[0], true
}

// Drop takes out what First has returned, unless another one came before it since.
func (f *Filings) Drop(first Filing) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.heap) > 0 && f.heap[0] == first {
		heap.Pop(&f.heap)
	}
}

// filingHeap implements heap.Interface.
type filingHeap []Filing

func (h filingHeap) Len() int           { return len(h) }
func (h filingHeap) Less(i, j int) bool { return h[i].Due < h[j].Due }
func (h filingHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *filingHeap) Push(x any) { *h = append(*h, x.(Filing)) }

// Pop implements heap.Interface.
func (h *filingHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
