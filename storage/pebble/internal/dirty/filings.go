package dirty

import "sync"

// Filing says that the index has to have a record at a time, and that the tree has not. It may be
// stale: the record has moved on.
type Filing struct {
	Due   int64 // Unix ms
	Place uint64
	Ref   Ref // in the table of the same generation
}

const filingBytes = 24

// Filings are those of a generation, the earliest first. All methods are safe for concurrent use.
type Filings struct {
	mu   sync.Mutex
	heap []Filing // each is not later than heap[2i+1] and heap[2i+2]
}

// Add adds filings.
func (f *Filings) Add(all ...Filing) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, x := range all {
		f.heap = append(f.heap, x)
		f.rise(len(f.heap) - 1)
	}
}

// Take takes out up to most filings that are due at a time or before, the earliest first.
func (f *Filings) Take(now int64, most int) (list []Filing) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.heap) > 0 && len(list) < most && f.heap[0].Due <= now {
		list = append(list, f.pop())
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
		f.pop()
	}
}

func (f *Filings) rise(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if f.heap[parent].Due <= f.heap[i].Due {
			return
		}
		f.heap[parent], f.heap[i] = f.heap[i], f.heap[parent]
		i = parent
	}
}

func (f *Filings) pop() Filing {
	first, last := f.heap[0], len(f.heap)-1
	f.heap[0] = f.heap[last]
	f.heap = f.heap[:last]
	for i := 0; 2*i+1 < last; {
		child := 2*i + 1
		if child+1 < last && f.heap[child+1].Due < f.heap[child].Due {
			child++
		}
		if f.heap[i].Due <= f.heap[child].Due {
			break
		}
		f.heap[i], f.heap[child] = f.heap[child], f.heap[i]
		i = child
	}
	return first
}
