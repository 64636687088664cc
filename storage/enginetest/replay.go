package enginetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// pair is an engine beside the model, and what is known of the numbers it chose.
type pair struct {
	factory  Factory
	engine   storage.Engine
	model    storage.Engine
	ofModel  map[uint64]uint64 // the engine's revision for each of the model's
	ofEngine map[uint64]uint64 // the reverse
	lastSeen map[id]uint64     // the highest revision of the engine under a key
	whenGone map[id]generations
	swept    ttl.Instant // when the last sweep was
	removed  map[id]int  // what the engine's sweep told, less what the model's told
}

// generations are those of one key at a moment when it was absent.
type generations struct{ engine, model uint64 }

// replay does the steps on a fresh engine and a fresh model. It returns the number of the
// step after which they disagree, and how.
func replay(t testing.TB, f Factory, steps []step) (failed int, err error) {
	p := &pair{
		factory: f, engine: f.Open(t), model: NewModel(),
		ofModel: map[uint64]uint64{}, ofEngine: map[uint64]uint64{},
		lastSeen: map[id]uint64{}, whenGone: map[id]generations{}, removed: map[id]int{},
	}
	p.engine.OnSwept(p.count(+1))
	p.model.OnSwept(p.count(-1))
	defer func() {
		if closeErr := p.engine.Close(); closeErr != nil && err == nil {
			failed, err = len(steps)-1, fmt.Errorf("close: %w", closeErr)
		}
	}()
	for i, s := range steps {
		if err := p.do(t, s); err != nil {
			return i, err
		}
		if err := p.compare(t.Context()); err != nil {
			return i, err
		}
	}
	return len(steps), nil
}

func (p *pair) do(t testing.TB, s step) error {
	switch s.verb {
	case "reopen":
		if p.factory.Reopen != nil {
			p.engine = p.factory.Reopen(t, p.engine)
			p.engine.OnSwept(p.count(+1))
			clear(p.whenGone) // generations mean nothing after a restart
		}
		return p.compareSeen()
	case "sweep":
		return p.sweep(t.Context(), s)
	}
	got, err := s.answers(t.Context(), p.engine)
	if err != nil {
		return err
	}
	want, err := s.answers(t.Context(), p.model)
	if err != nil {
		return fmt.Errorf("the model: %w", err)
	}
	if got != want {
		return fmt.Errorf("answers are\n%s\nwant\n%s", got, want)
	}
	if s.moves() {
		clear(p.lastSeen)
	}
	return nil
}

// moves reports whether records may be under other keys after s.
func (s step) moves() bool {
	return slices.ContainsFunc(s.ops, func(o op) bool { return o.verb == "swap" })
}

// sweep takes both engines to the point where nothing is due.
func (p *pair) sweep(ctx context.Context, s step) error {
	got, err := drain(ctx, p.engine, s.now, s.budget)
	if err != nil {
		return err
	}
	p.swept = s.now
	want, err := drain(ctx, p.model, s.now, s.budget)
	if err != nil {
		return fmt.Errorf("the model: %w", err)
	}
	if want != ttl.Never && (got == ttl.Never || got > want) {
		return fmt.Errorf("sweep at %d: next = %d, but a record is due at %d", s.now, got, want)
	}
	for k, n := range p.removed {
		if n != 0 {
			return fmt.Errorf("sweep at %d: %v was handed over %+d times more than it was removed", s.now, k, n)
		}
	}
	return p.compareSeen()
}

// count returns a function for OnSwept that adds n for each key it is told.
func (p *pair) count(n int) func([]storage.Key, storage.Barrier) {
	return func(keys []storage.Key, _ storage.Barrier) {
		for _, k := range keys {
			p.removed[idOf(k)] += n
		}
	}
}

// compareSeen holds the engine to the model, which remembers no more than it must.
func (p *pair) compareSeen() error {
	least, got := p.model.Seen(), p.engine.Seen()
	if got < least || got > max(least, p.swept) {
		return fmt.Errorf("Seen = %d, want from %d, when a record was removed, to %d, when the last sweep was", got, least, p.swept)
	}
	return nil
}

// answers does a view or an update and writes down everything it was told.
func (s step) answers(ctx context.Context, e storage.Engine) (string, error) {
	var told []string
	body := func(r storage.Reader) error {
		told = nil
		for _, o := range s.ops {
			answer, err := o.do(r)
			told = append(told, fmt.Sprintf("%v: %s", o, answer))
			if err != nil {
				return err
			}
		}
		if s.fail {
			return errPlanned
		}
		return nil
	}
	var b storage.Barrier
	var err error
	if s.verb == "view" {
		b, err = e.View(ctx, s.scope, body)
	} else {
		b, err = e.Update(ctx, s.scope, func(tx storage.Txn) error { return body(tx) })
	}
	if err == nil && s.sync {
		err = e.Sync(ctx, b)
	}
	told = append(told, s.verb+": "+nameOf(err))
	return strings.Join(told, "\n"), unplanned(err)
}

var errPlanned = errors.New("planned failure")

// unplanned returns err unless a step may end with it.
func unplanned(err error) error {
	if errors.Is(err, errPlanned) || errors.Is(err, storage.ErrScope) {
		return nil
	}
	return err
}

// nameOf returns the same text for the same error of any engine.
func nameOf(err error) string {
	for _, known := range []error{errPlanned, storage.ErrScope, storage.ErrNotFound, storage.ErrClosed} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	if err != nil {
		return err.Error()
	}
	return "done"
}

// do returns what o is told. The error is one that ends the transaction.
func (o op) do(r storage.Reader) (answer string, err error) {
	switch o.verb {
	case "get":
		record, found, err := r.Get(o.key.key())
		return nameOfRecord(record, found, err), err
	case "stat":
		record, found, err := r.Stat(o.key.key())
		return nameOfRecord(record, found, err), err
	case "len":
		count, err := r.Len(o.key.db)
		return fmt.Sprintf("%+v, %s", count, nameOf(err)), err
	case "scan":
		all, err := scanAll(r, o.key.db, o.limit)
		return fmt.Sprint(slices.SortedFunc(maps.Keys(all), compareID)), err
	}
	if answer, ok, err := o.onElements(r); ok {
		return answer, err
	}
	err = o.write(r.(storage.Txn))
	if errors.Is(err, storage.ErrNotFound) {
		return nameOf(err), nil
	}
	return nameOf(err), err
}

func (o op) write(tx storage.Txn) error {
	switch o.verb {
	case "put":
		return put(tx, row{o.key.db, o.key.name, o.value, o.deadline})
	case "setdeadline":
		return tx.SetDeadline(o.key.key(), o.deadline)
	case "delete":
		return tx.Delete(o.key.key())
	case "flush":
		return tx.Flush(o.key.db)
	case "swap":
		return tx.Swap(o.key.db, o.other)
	}
	panic("unknown verb " + o.verb)
}

func nameOfRecord(r storage.Record, found bool, err error) string {
	if err != nil || !found {
		return fmt.Sprintf("found %v, %s", found, nameOf(err))
	}
	return fmt.Sprintf("%v, size %d", entry{r.Kind, string(r.Value), r.Deadline, 0}, r.Size)
}

// observation is everything an engine shows at one instant.
type observation struct {
	contents    contents
	generations map[id]uint64
	elements    map[id]string
}

func observe(ctx context.Context, e storage.Engine) (o observation, err error) {
	_, err = e.View(ctx, storage.Whole, func(r storage.Reader) (err error) {
		o = observation{generations: map[id]uint64{}}
		if o.contents, err = read(r); err != nil {
			return err
		}
		if o.elements, err = allElements(r, o.contents); err != nil {
			return err
		}
		for _, db := range databases() {
			for _, name := range names() {
				k := id{db, name}
				if o.generations[k], err = r.Generation(k.key()); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return o, err
}

func (p *pair) compare(ctx context.Context) error {
	got, err := observe(ctx, p.engine)
	if err != nil {
		return err
	}
	want, err := observe(ctx, p.model)
	if err != nil {
		return fmt.Errorf("the model: %w", err)
	}
	if diff := got.contents.diffContents(want.contents); diff != "" {
		return fmt.Errorf("the engine disagrees with the model:%s", diff)
	}
	for k := range got.elements {
		if got.elements[k] != want.elements[k] {
			return fmt.Errorf("elements of %v are %s, want %s", k, got.elements[k], want.elements[k])
		}
	}
	return errors.Join(p.compareRevisions(got, want), p.compareGenerations(got, want))
}

// compareRevisions wants one revision of the engine for each of the model's, and growth
// under each key.
func (p *pair) compareRevisions(got, want observation) error {
	for k, e := range got.contents {
		engine, model := e.revision, want.contents[k].revision
		if known, ok := p.ofModel[model]; ok && known != engine {
			return fmt.Errorf("the revision of %v went from %d to %d without a change", k, known, engine)
		}
		if known, ok := p.ofEngine[engine]; ok && known != model {
			return fmt.Errorf("the revision %d of %v was used before", engine, k)
		}
		if engine < p.lastSeen[k] {
			return fmt.Errorf("the revision of %v went down from %d to %d", k, p.lastSeen[k], engine)
		}
		p.ofModel[model], p.ofEngine[engine], p.lastSeen[k] = engine, model, engine
	}
	return nil
}

// compareGenerations wants the engine to tell when a key that is absent was there since it
// was last seen absent.
func (p *pair) compareGenerations(got, want observation) error {
	for k, engine := range got.generations {
		if _, found := want.contents[k]; found {
			continue
		}
		now := generations{engine, want.generations[k]}
		last, ok := p.whenGone[k]
		if ok && now.engine < last.engine {
			return fmt.Errorf("the generation of %v went down from %d to %d", k, last.engine, now.engine)
		}
		if ok && now.model != last.model && now.engine == last.engine {
			return fmt.Errorf("%v came and went, its generation is still %d", k, now.engine)
		}
		p.whenGone[k] = now
	}
	return nil
}
