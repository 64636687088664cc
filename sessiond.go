// Package sessiond keeps web sessions on disk and serves them over the Redis protocol,
// inside a Go program.
//
// Open opens a folder and returns a Store. A program reads and writes sessions through
// Store.DB, serves them to other programs with Store.Serve, or both: they are the same
// sessions. The sessiond command is this package with flags.
//
// What a method acknowledged is kept: see Durability. A session whose deadline has passed
// is never readable again, and one whose deadline has not is never dropped to make room.
// Deadlines are points in time; a restart neither extends nor resets them.
//
// A folder belongs to one Store at a time, in whatever process.
package sessiond

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/sessiond/sessiond/internal/paths"
	"github.com/sessiond/sessiond/server"
	"github.com/sessiond/sessiond/server/acl"
	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble"
	"github.com/sessiond/sessiond/ttl"
)

// Version is the version of this module and of the sessiond command.
const Version = "0.1.0"

// MaxDatabases is the largest number of databases a Store can have.
const MaxDatabases = 1 << 14

// Errors to compare with errors.Is.
var (
	// ErrLocked is returned by Open when the folder is open in another Store.
	ErrLocked = pebble.ErrLocked
	// ErrForeign is returned by Open when the folder holds something that is not a store.
	ErrForeign = pebble.ErrForeign
	// ErrNewerFormat is returned by Open when a later version of sessiond wrote the folder.
	ErrNewerFormat = pebble.ErrNewerFormat
	// ErrDamaged is returned by Open when the files of the folder are not what was written
	// to them, and by the methods of a DB for a session that can therefore not be read.
	ErrDamaged = pebble.ErrDamaged
	// ErrDiskFull is returned by Set, which then has changed nothing, when there is no room
	// for it on the disk or within MaxDisk, and by Touch when there is hardly any. Get and
	// Delete go on. Open returns it when there is not even room to open the Store.
	ErrDiskFull = storage.ErrFull
	// ErrFailed is returned by every method, calls that were under way included, once changes can
	// no longer be written safely, which is when the disk failed. It wraps the reason. Whether a
	// change was made that was not acknowledged is open. Nothing but Close helps, which releases
	// the folder and returns the error, too: then the folder can be opened again, if the disk is
	// in order, by this process or another.
	ErrFailed = storage.ErrFailed
	// ErrClosed is returned by the methods of a DB after Close.
	ErrClosed = storage.ErrClosed
	// ErrServerClosed is returned by Serve after Shutdown or Close.
	ErrServerClosed = server.ErrServerClosed
	// ErrWrongKind is returned by Get when the key holds something other than a plain
	// value, which another program stored over the Redis protocol.
	ErrWrongKind = storage.ErrWrongKind
)

// Durability says how safe a change is before it is acknowledged: before a method returns,
// or before a client gets its reply. No mode loses an acknowledged change when the process
// is killed; they differ in what a power cut can take back.
type Durability storage.Durability

const (
	// Session puts whatever creates, changes or ends a session on stable storage first.
	// A deadline that is only moved to a later time follows within a second: a power cut
	// before that takes the extension back, and nothing else.
	Session = Durability(storage.Session)
	// Strict puts every change on stable storage first. Redis calls it appendfsync always.
	Strict = Durability(storage.Strict)
	// EverySec puts changes on stable storage about once a second: a power cut takes back
	// at most that. Redis calls it appendfsync everysec.
	EverySec = Durability(storage.EverySec)
)

// String returns the name that ParseDurability takes.
func (d Durability) String() string { return storage.Durability(d).String() }

// ParseDurability returns the mode with that name: session, strict or everysec.
func ParseDurability(name string) (Durability, error) {
	d, err := storage.ParseDurability(name)
	return Durability(d), err
}

// OutputLimits bound the replies that wait for one client, as client-output-buffer-limit of
// redis.conf does. The zero value holds the defaults; its method With makes others:
//
//	limits, err := sessiond.OutputLimits{}.With("normal 256mb 64mb 60")
type OutputLimits = server.OutputLimits

// Options are the choices of a Store. The zero value is ready to use.
type Options struct {
	// Durability says how safe a change is before it is acknowledged. Zero means Session.
	Durability Durability
	// Databases is the number of databases. Zero means 16.
	Databases int
	// CacheBytes bounds the memory that holds recently used sessions. Zero means 256 MiB.
	CacheBytes int64
	// MaxDisk bounds the bytes the folder may take, backups in other folders aside: beyond
	// it new sessions are refused, as on a full disk. Zero means all the disk has.
	MaxDisk int64
	// LogBytes limits the log, from 1 MiB to 8 GiB. The log holds every change until the tables have
	// it, and Open reads all of it after the process was killed. The size is chosen when the Store is
	// created; an existing Store keeps its size. Zero means twice
	// CacheBytes, from 32 to 128 MiB, and less on a disk, or with a MaxDisk, below 2 GiB.
	LogBytes int64
	// BackupDir is the folder of the copy that clients ask for with SAVE and BGSAVE. Empty
	// means "backup" inside the folder of the Store.
	BackupDir string
	// Clock judges deadlines. Nil means ttl.System. When it is set back, what has ended
	// stays ended: see ttl.Forward.
	Clock ttl.Clock
	// Logger receives what an operator should know. No value, password or key is ever logged. Nil means slog.Default.
	Logger *slog.Logger
	// LogLevel is the level of Logger's handler, which CONFIG SET loglevel changes. Nil means that
	// clients cannot change it.
	LogLevel *slog.LevelVar
	// OnFailure is called, once, when changes can no longer be written safely, with the error
	// that every method returns from then on: see ErrFailed. It is called before any of them
	// returns it, and must not wait for the Store. The failure is logged in any case. Nil does nothing.
	OnFailure func(error)

	// Password is what clients of Serve log in with. Empty asks for none.
	Password string
	// Users are ACL users for clients of Serve, as the directive user of redis.conf has
	// them: a name and rules, such as "alice on >secret ~sess:* +@read +set". The user
	// "default" is the one of clients that give no name; unless it is among them it has
	// all rights and the Password.
	Users []string
	// ACLFile is a file of users in the format of Redis' aclfile, in place of Users and
	// Password. It must exist. ACL LOAD reads it again and ACL SAVE writes it.
	ACLFile string
	// RenameCommands gives commands of Serve other names, as the directive rename-command of
	// redis.conf does: "FLUSHALL wipe" renames one, `FLUSHALL ""` takes it away.
	RenameCommands []string
	// MaxClients bounds the clients served at once. Zero means 10000.
	MaxClients int
	// MaxBulk bounds one argument of a command, and so a value, in bytes: from 1 MiB to
	// 512 MiB. Zero means 64 MiB.
	MaxBulk int
	// QueryBuffer bounds one command, or one transaction, in bytes: at least 1 MiB. Zero
	// means 256 MiB.
	QueryBuffer int
	// OutputLimits bound the replies that wait for one client. Zero means 256 MiB: a client
	// beyond that is closed at once.
	OutputLimits OutputLimits
	// IdleTimeout is how long a client may be silent. Zero means forever.
	IdleTimeout time.Duration
	// TCPKeepAlive is how long a TCP client may be silent before the system probes the connection, in
	// whole seconds. After three probes without an answer, a third of that time apart, the system cuts
	// it. Zero means 300 seconds; a negative value means never.
	TCPKeepAlive time.Duration
	// OnShutdown is called, once, when a client sends SHUTDOWN. It must not wait for the
	// Store. Nil refuses the command.
	OnShutdown func()
}

func (o Options) check() error {
	switch {
	case o.MaxClients < 0 || o.IdleTimeout < 0 || o.CacheBytes < 0 || o.MaxDisk < 0:
		return errors.New("MaxClients, IdleTimeout, CacheBytes and MaxDisk must not be negative")
	case o.LogBytes != 0 && (o.LogBytes < 1<<20 || o.LogBytes > 8<<30):
		return fmt.Errorf("LogBytes of %d bytes: from 1 MiB to 8 GiB", o.LogBytes)
	case o.MaxBulk != 0 && (o.MaxBulk < 1<<20 || o.MaxBulk > 512<<20):
		return fmt.Errorf("MaxBulk of %d bytes: from 1 MiB to 512 MiB", o.MaxBulk)
	case o.QueryBuffer != 0 && (o.QueryBuffer < 1<<20 || o.QueryBuffer > math.MaxInt32):
		return fmt.Errorf("QueryBuffer of %d bytes: from 1 MiB to 2 GiB", o.QueryBuffer)
	case o.Databases < 0 || o.Databases > MaxDatabases:
		return fmt.Errorf("%d databases: there can be 1 to %d", o.Databases, MaxDatabases)
	case o.Durability < Session || o.Durability > EverySec:
		return fmt.Errorf("there is no %v", o.Durability)
	}
	return nil
}

// Store is an open folder of sessions. It is safe for concurrent use.
type Store struct {
	dir      string
	options  Options
	users    *acl.Definitions // as of Open
	renames  server.Renames
	found    Found
	engine   storage.Engine
	clock    ttl.Clock // goes forward over Options.Clock
	keyspace *storage.Keyspace

	open        context.Context // ends when Close begins
	stopSweeper context.CancelFunc
	sweeper     sync.WaitGroup
	closeOnce   func() error

	// mu guards the serving side.
	mu       sync.Mutex
	server   *server.Server // nil before the first Serve
	shutDown bool

	// calls is held for reading during every call of a DB, so that Close can wait.
	calls  sync.RWMutex
	closed bool
}

// Open opens the folder dir, which it creates if necessary. The caller closes the Store.
// The time it takes does not depend on how many sessions there are.
func Open(dir string, options Options) (*Store, error) {
	dir = cmp.Or(dir, ".")
	if err := paths.Absolute(&dir, &options.ACLFile, &options.BackupDir); err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	if err := options.check(); err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	users, err := options.users()
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	renames, err := server.ParseRenames(options.RenameCommands)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	options.Users = nil // they hold passwords, and users holds only hashes
	options.Databases = cmp.Or(options.Databases, 16)
	options.MaxClients = cmp.Or(options.MaxClients, 10000)
	if options.Clock == nil {
		options.Clock = ttl.System
	}
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	engine, err := pebble.Open(dir, pebble.Options{
		Durability: storage.Durability(options.Durability),
		CacheBytes: options.CacheBytes,
		LogBytes:   options.LogBytes,
		MaxDisk:    options.MaxDisk,
		Logger:     options.Logger,
		Clock:      options.Clock,
		OnFailure:  options.OnFailure,
	})
	if err != nil {
		return nil, err
	}
	clock := ttl.NewForward(options.Clock, engine.Seen())
	s := &Store{
		dir:      dir,
		options:  options,
		users:    users,
		renames:  renames,
		engine:   engine,
		clock:    clock,
		keyspace: storage.NewKeyspace(engine, clock),
	}
	if err := s.look(); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", dir, err), engine.Close())
	}
	s.closeOnce = sync.OnceValue(s.close)
	s.startSweeper()
	return s, nil
}

func (s *Store) startSweeper() {
	ctx, stop := context.WithCancel(context.Background())
	s.open, s.stopSweeper = ctx, stop
	sweeper := ttl.Sweeper{
		Clock:   s.clock,
		Sweep:   s.engine.Sweep,
		Budget:  sweepWindow,
		OnError: s.logSweepError,
		OnStep:  s.logStep,
	}
	s.sweeper.Go(func() { sweeper.Run(ctx) })
}

// sweepWindow is how many index entries are sorted in the order of their records at a time. With more
// entries fewer blocks are read twice. This many take a few MiB.
const sweepWindow = 16 << 10

func (s *Store) logSweepError(err error) {
	if errors.Is(err, storage.ErrFull) || errors.Is(err, storage.ErrFailed) {
		return // the engine logs it
	}
	if errors.Is(err, storage.ErrElsewhere) {
		return // they are removed, by somebody else
	}
	s.options.Logger.Error("ended sessions could not be removed; they will be later", "err", err)
}

// logStep logs that the clock was set.
func (s *Store) logStep(from, to ttl.Instant) {
	if to < from {
		s.options.Logger.Warn("the clock was set back; it stands still until all that has ended is removed, and then goes on from there",
			"from", from.Time(), "to", to.Time(), "by", from.Sub(to))
		return
	}
	s.options.Logger.Warn("the clock was set forward, or the machine slept; what would have ended meanwhile has ended",
		"from", from.Time(), "to", to.Time(), "by", to.Sub(from))
}

// DB returns database i, counted from 0; Redis clients reach it with SELECT. It panics if
// there is no such database: see Options.Databases.
func (s *Store) DB(i int) *DB {
	if i < 0 || i >= s.options.Databases {
		panic(fmt.Sprintf("sessiond: database %d of %d", i, s.options.Databases))
	}
	return &DB{store: s, index: i}
}

// Shutdown stops serving: it closes the listeners, lets every client have the replies to
// the commands that have arrived, and disconnects it. When ctx ends first the remaining
// clients are cut and ctx's error is returned. The Store stays usable until Close.
func (s *Store) Shutdown(ctx context.Context) error {
	if srv := s.stopServing(); srv != nil {
		return srv.Shutdown(ctx)
	}
	return nil
}

// Close cuts the clients, waits for calls that are under way, makes everything durable and
// releases the folder. When it returns nothing of the Store is running. Closing again
// returns the same error.
func (s *Store) Close() error { return s.closeOnce() }

func (s *Store) close() error {
	if srv := s.stopServing(); srv != nil {
		_ = srv.Close() // it returns no error
	}
	s.stopSweeper()
	s.sweeper.Wait()
	s.calls.Lock()
	defer s.calls.Unlock()
	s.closed = true
	// A session that a reply has shown as ended must stay ended, even if the clock is earlier at the
	// next start. Sweep removes it, or the engine stores the clock high water.
	if _, _, err := s.engine.Sweep(context.Background(), s.clock.Now(), lastSweep); err != nil {
		s.logSweepError(err)
	}
	return s.engine.Close()
}

// lastSweep is how many index entries Close processes at most.
const lastSweep = 512
