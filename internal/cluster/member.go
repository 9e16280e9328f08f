package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/statordb/stator/internal/guard"
	"github.com/statordb/stator/internal/jobs"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/wait"
)

const (
	// beatInterval is how often a server renews its record.
	beatInterval = time.Second
	// deadAfter is how long others wait for a renewal before they replace the server. validFor is how long a server may commit
	// after it began its last renewal. The difference leaves time for a commit that was sent in time and arrives late.
	deadAfter = 5 * time.Second
	validFor  = 3 * time.Second
	// pollInterval is how often a server reads the log.
	pollInterval = 25 * time.Millisecond
	// waitInterval is how often a server that waits for others checks their progress.
	waitInterval = 5 * time.Millisecond
	// thawPause is the pause after a failed attempt to end a freeze.
	thawPause = 100 * time.Millisecond
	// keepEntries is how many log entries are kept for servers that return after they were taken for dead.
	keepEntries = 10000
)

// Options configure a Member.
type Options struct {
	KV     kv.Store
	Info   Info
	Logger *slog.Logger
	// Evict ends all transactions of a server that was replaced, and returns once none of them can commit any more. It is nil
	// if the store bounds the time of a commit by itself.
	Evict func(ctx context.Context, id string) error
}

// Member is one of several servers that share a store.
type Member struct {
	kv       kv.Store
	opt      Options
	info     Info
	watchers watchers

	renewing sync.Mutex // held while the record is written, so that an older one never overwrites a newer one

	mu        sync.Mutex
	valid     time.Time // until when this server may commit
	beat      uint64
	read      uint64    // number of the last log entry that was processed or, for a freeze, started
	seen      uint64    // number of the last log entry up to which all are done; others wait for it
	published uint64    // seen, as the stored record has it
	own       uint64    // number of the last log entry that this server has added
	frozen    []*frozen // one at most, except after this server was away
	rejoin    uint64    // a server that was away must not commit before seen reaches this entry
	others    map[string]*observed
	// others includes this server.
	leads   map[string]*leadJob
	left    func() // see Start
	settled uint64 // highest entry that all servers are known to have seen

	ctx    context.Context
	cancel context.CancelFunc
	done   guard.Group
	work   guard.Group   // of Lead and Exchange
	kick   chan struct{} // makes follow read the log at once
}

// observed is a server's record and when it last changed, by this server's clock. Clocks are never compared between servers.
type observed struct {
	Server
	at time.Time
}

// frozen is a freeze in which this server takes part.
type frozen struct {
	key    []byte
	done   bool // the cached value has no users left
	thawed bool // the freeze ended before that
}

// leadJob is a job that exactly one of the servers runs.
type leadJob struct {
	ctx           context.Context // the job ends with it
	takeOver, run func(ctx context.Context)
	cancel        context.CancelFunc // nil if this server does not run it
	ended         chan struct{}      // closed when run has returned
}

var errLost = errors.New("this server could not renew its lease: another may have taken its place")

// Join adds this server to those of the store. It need not catch up with earlier log entries, since its caches are empty.
func Join(ctx context.Context, opt Options) (*Member, error) {
	m := &Member{kv: opt.KV, opt: opt, info: opt.Info, others: map[string]*observed{}, leads: map[string]*leadJob{}, kick: make(chan struct{}, 1)}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	began := time.Now()
	err := kv.Update(ctx, m.kv, kv.TxnOpt{}, func(txn kv.Txn) error {
		n, err := lastEntry(txn)
		if err != nil {
			return err
		}
		m.read, m.seen, m.published = n, n, n
		var f freeze
		found, err := get(txn, keyspace.ClusterFreeze(), &f)
		if err != nil {
			return err
		}
		if m.frozen = nil; found {
			m.frozen = []*frozen{{key: f.Key}} // the log has no further entry about its beginning
		}
		// Guard the log, so that no entry can appear between reading its end and registering: others wait only for
		// registered servers.
		if err := txn.Guard(keyspace.ClusterLog()); err != nil {
			return err
		}
		return put(txn, keyspace.ClusterServer(m.info.ID), Server{Info: m.info, Seen: n})
	})
	if err != nil {
		return nil, err
	}
	m.valid = began.Add(validFor)
	m.done.Start(m.opt.Logger, "renewing this server's lease", func() {
		m.beatLoop()
	})
	return m, nil
}

// Start begins to follow the log. Everything registered by Watch must have been read from the store after Join. left is called in its
// own goroutine after another server has gone and its leases and freeze were released.
func (m *Member) Start(ctx context.Context, left func()) error {
	m.mu.Lock()
	m.left = left
	m.mu.Unlock()
	for _, f := range m.frozen { // m.mu is not needed: nothing follows the log yet
		m.watchers.of(f.key).Freeze(f.key)
		f.done = true
	}
	if err := m.look(ctx); err != nil {
		return err
	}
	m.done.Start(m.opt.Logger, "following the other servers", func() {
		guard.Loop(m.ctx, m.opt.Logger, "following the other servers", m.follow)
	})
	return nil
}

// Close leaves the cluster and releases leases and freeze at once, without waiting for deadAfter.
func (m *Member) Close() error {
	m.cancel()
	m.mu.Lock()
	for _, l := range m.leads {
		if l.cancel != nil {
			l.cancel()
		}
	}
	m.mu.Unlock()
	m.done.Wait()
	m.work.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), deadAfter)
	defer cancel()
	return m.remove(ctx, m.info.ID, nil)
}

// Watch implements Coordinator.
func (m *Member) Watch(prefix []byte, w Watcher) { m.watchers.add(prefix, w) }

// ID returns this server's id.
func (m *Member) ID() string { return m.info.ID }

// UpdateInfo changes what this server publishes about itself, from its next renewal on.
func (m *Member) UpdateInfo(change func(*Info)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(&m.info)
}

// fence returns an error if this server may have been replaced, and so must not commit.
func (m *Member) fence() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Now().After(m.valid) || m.seen < m.rejoin {
		return errLost
	}
	return nil
}

// changed records that this server has added entries up to n, and follows them at once.
func (m *Member) changed(n uint64) {
	m.mu.Lock()
	m.own = max(m.own, n)
	m.mu.Unlock()
	m.poke()
}

// poke makes follow read the log at once.
func (m *Member) poke() {
	select {
	case m.kick <- struct{}{}:
	default:
	}
}

// beatLoop periodically renews this server's record, removes dead servers, and takes over a free job.
func (m *Member) beatLoop() {
	jobs.Every(m.ctx, m.opt.Logger, "renewing this server's lease", beatInterval, func() {
		ctx, cancel := context.WithTimeout(m.ctx, deadAfter)
		defer cancel()
		err := m.renew(ctx)
		if err == nil {
			err = m.look(ctx)
		}
		if err == nil {
			err = m.take(ctx)
		}
		if err != nil && m.ctx.Err() == nil {
			m.opt.Logger.Warn("cannot renew this server's lease", "error", err.Error())
		}
		if m.fence() != nil {
			m.stopLeading()
		}
	})
}

// renew writes this server's record, which extends its permission to commit by validFor.
func (m *Member) renew(ctx context.Context) error {
	m.renewing.Lock()
	defer m.renewing.Unlock()
	m.mu.Lock()
	m.beat++
	s := Server{Info: m.info, Beat: m.beat, Seen: m.seen}
	m.mu.Unlock()
	// The lease counts from before the write: others count from when they see it, which is later.
	began := time.Now()
	key := keyspace.ClusterServer(s.ID)
	back, last := false, uint64(0)
	err := kv.Update(ctx, m.kv, kv.TxnOpt{Hint: [][]byte{key}}, func(txn kv.Txn) error {
		raw, err := txn.Get(key)
		if err != nil {
			return err
		}
		if back = raw == nil; back {
			// Others have removed the record. Continue in the log where this server left off, if these entries are still there.
			if last, err = lastEntry(txn); err != nil {
				return err
			}
			if last > s.Seen+keepEntries {
				return fmt.Errorf("this server was away for too long: %d changes", last-s.Seen)
			}
			if err := txn.Guard(keyspace.ClusterLog()); err != nil { // once registered again, others wait for this server
				return err
			}
		}
		return put(txn, key, s)
	})
	if err != nil {
		return err
	}
	if back {
		m.stopLeading()
		m.opt.Logger.Warn("other servers took this one for dead; it is back")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.published = max(m.published, s.Seen)
	m.valid, m.rejoin = began.Add(validFor), max(m.rejoin, last)
	return nil
}

// look reads the records of all servers and removes the dead ones.
func (m *Member) look(ctx context.Context) error {
	r, err := m.kv.Latest(ctx)
	if err != nil {
		return err
	}
	list, err := Servers(ctx, r)
	if err = errors.Join(err, r.Close()); err != nil {
		return err
	}
	for _, dead := range m.observe(list) {
		m.opt.Logger.Warn("removing a dead server", "server", dead.ID, "url", dead.URL)
		if m.opt.Evict != nil {
			if err := m.opt.Evict(ctx, dead.ID); err != nil {
				return err
			}
		}
		if err := m.remove(ctx, dead.ID, &dead.Beat); err != nil {
			return err
		}
	}
	return nil
}

// observe records the servers seen, and returns the dead ones.
func (m *Member) observe(list []Server) (dead []Server) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	there := map[string]bool{}
	for _, s := range list {
		there[s.ID] = true
		o := m.others[s.ID]
		if o == nil || o.Beat != s.Beat || o.Seen != s.Seen {
			m.others[s.ID] = &observed{s, now}
		} else if now.Sub(o.at) > deadAfter && s.ID != m.info.ID {
			dead = append(dead, s)
		}
	}
	before := len(m.others)
	maps.DeleteFunc(m.others, func(id string, _ *observed) bool { return !there[id] })
	// A server has left: take over its work.
	if len(m.others) < before && m.left != nil && m.ctx.Err() == nil {
		m.done.Start(m.opt.Logger, "taking over from another server", m.left)
	}
	return dead
}

// remove removes a server with its leases and freeze. If beat is given, it does nothing unless the server's last
// renewal is still that one: it may have recovered.
func (m *Member) remove(ctx context.Context, id string, beat *uint64) error {
	var n uint64
	err := kv.Update(ctx, m.kv, kv.TxnOpt{}, func(txn kv.Txn) error {
		n = 0
		var s Server
		found, err := get(txn, keyspace.ClusterServer(id), &s)
		if err != nil || !found || beat != nil && s.Beat != *beat {
			return err
		}
		// Release its leases and its freeze in the same transaction, so that nothing stays held by a server that is
		// gone.
		leases, err := Leases(ctx, txn)
		if err != nil {
			return err
		}
		if err := errors.Join(txn.Delete(keyspace.ClusterServer(id), 0), txn.Delete(keyspace.ClusterMessage(id), 0)); err != nil {
			return err
		}
		for _, l := range leases {
			if l.Holder != id {
				continue
			}
			if holder, err := txn.Get(keyspace.ClusterLease(l.Job)); err != nil || string(holder) != id {
				// The lease has changed hands since Leases read it.
				return errors.Join(err, kv.ErrConflict)
			}
			if err := txn.Delete(keyspace.ClusterLease(l.Job), 0); err != nil {
				return err
			}
		}
		var f freeze
		if found, err := get(txn, keyspace.ClusterFreeze(), &f); err != nil || !found || f.Holder != id {
			return err
		}
		if err := txn.Delete(keyspace.ClusterFreeze(), 0); err != nil {
			return err
		}
		n, err = log(txn, entry{Key: f.Key})
		return err
	})
	if err == nil && n != 0 {
		m.changed(n)
	}
	if err != nil {
		return err
	}
	return m.kv.DeleteRange(ctx, kv.Prefix(keyspace.ClusterMails(id)))
}

// follow follows the log until the server leaves, and retries after errors.
func (m *Member) follow() {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-tick.C:
		case <-m.kick:
		}
		if err := m.catchUp(m.ctx); err != nil && m.ctx.Err() == nil {
			m.opt.Logger.Warn("cannot follow the other servers", "error", err.Error())
			_ = wait.Pause(m.ctx, beatInterval) // the loop ends with m.ctx
		}
	}
}

// catchUp processes new log entries, and publishes how far it has come.
func (m *Member) catchUp(ctx context.Context) error {
	r, err := m.kv.Latest(ctx)
	if err != nil {
		return err
	}
	last, err := lastEntry(r)
	if err != nil || last == m.read {
		return errors.Join(err, r.Close(), m.publishSeen(ctx))
	}
	var list []entry
	rng := kv.Range{Start: keyspace.ClusterEntry(m.read + 1), End: keyspace.ClusterEntry(last + 1)}
	err = kv.Each(ctx, r, rng, func(_, val []byte) error {
		var e entry
		err := json.Unmarshal(val, &e)
		list = append(list, e)
		return err
	})
	if err = errors.Join(err, r.Close()); err != nil {
		return err
	}
	if uint64(len(list)) != last-m.read {
		return fmt.Errorf("%d changes of the log are missing: this server must be restarted", last-m.read-uint64(len(list)))
	}
	// In order: a freeze starts, anything else ends one or is a plain change.
	for _, e := range list {
		if e.Freeze != 0 {
			m.freeze(e.Key)
		} else if err := m.reload(ctx, e.Key); err != nil {
			return err
		}
	}
	return m.publishSeen(ctx)
}

// step counts a log entry as processed. The caller holds m.mu.
func (m *Member) step() {
	m.read++
	m.advance()
}

// advance updates seen. The caller holds m.mu. While a freeze waits for users of the old value, no entry at or after it
// is done.
func (m *Member) advance() {
	if !slices.ContainsFunc(m.frozen, func(f *frozen) bool { return !f.done }) {
		m.seen = m.read
	}
}

// freeze starts to take part in a freeze. A goroutine waits for the users of the old value, so that this server keeps following
// the log: these users may themselves wait for other entries.
func (m *Member) freeze(key []byte) {
	f := &frozen{key: key}
	m.mu.Lock()
	m.frozen = append(m.frozen, f)
	m.step()
	m.mu.Unlock()
	m.done.Start(m.opt.Logger, "freezing", func() {
		m.watchers.of(key).Freeze(key)
		if !m.drained(f) {
			m.reloadLate(f)
		}
		m.poke() // publishes that this server is done with the freeze
	})
}

// drained records that the cached value has no users left. It returns false if the freeze has ended meanwhile: the caller must then
// reload the value.
func (m *Member) drained(f *frozen) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f.thawed {
		return false
	}
	f.done = true
	m.advance()
	return true
}

// reloadLate reloads the value of a freeze that has ended before the value was drained, until that succeeds or the server leaves.
func (m *Member) reloadLate(f *frozen) {
	for m.ctx.Err() == nil {
		err := m.watchers.of(f.key).Reload(m.ctx, f.key)
		if err == nil {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.forget(f)
			return
		}
		m.opt.Logger.Warn("cannot follow the other servers", "error", err.Error())
		_ = wait.Pause(m.ctx, thawPause) // the loop ends with m.ctx
	}
}

// forget ends this server's part in a freeze. The caller holds m.mu. nil means none.
func (m *Member) forget(f *frozen) {
	m.frozen = slices.DeleteFunc(m.frozen, func(other *frozen) bool { return other == f })
	m.advance()
}

// reload processes a change: it reloads the key and ends the freeze of it, if there is one.
func (m *Member) reload(ctx context.Context, key []byte) error {
	m.mu.Lock()
	var f *frozen // nil if the key is not frozen
	if at := slices.IndexFunc(m.frozen, func(f *frozen) bool { return bytes.Equal(f.key, key) && !f.thawed }); at >= 0 {
		f = m.frozen[at]
	}
	if f != nil && !f.done {
		// The freezing server did not wait for this one, or gave up. The old value still has users here, so leave the reload to
		// the goroutine that waits for them.
		f.thawed = true
		m.step()
		m.mu.Unlock()
		return nil
	}
	m.mu.Unlock()
	if err := m.watchers.of(key).Reload(ctx, key); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget(f)
	m.step()
	return nil
}

// publishSeen publishes how far this server has come, if that has changed.
func (m *Member) publishSeen(ctx context.Context) error {
	m.mu.Lock()
	due := m.seen > m.published
	m.mu.Unlock()
	if !due {
		return nil
	}
	return m.renew(ctx)
}

// wait returns once all servers have seen the log up to entry n. It removes dead servers meanwhile, so it does not wait
// for them.
func (m *Member) wait(ctx context.Context, n uint64) error {
	return wait.Until(ctx, waitInterval, func() (bool, error) {
		err := m.look(ctx)
		return err == nil && m.allSeen(n), err
	})
}

// allSeen reports whether all servers, as last observed, have seen entry n.
func (m *Member) allSeen(n uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, o := range m.others {
		if id != m.info.ID && o.Seen < n {
			return false
		}
	}
	if m.seen < n {
		return false
	}
	m.settled = max(m.settled, n)
	return true
}

// Settle implements Coordinator.
func (m *Member) Settle(ctx context.Context) error {
	m.mu.Lock()
	own, settled := m.own, m.settled
	m.mu.Unlock()
	if own <= settled {
		return nil
	}
	return m.wait(ctx, own)
}

// Applied returns the number of the last log entry that this server has processed.
func (m *Member) Applied() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.read
}

// CatchUp implements Coordinator.
func (m *Member) CatchUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, deadAfter)
	defer cancel()
	r, err := m.kv.Latest(ctx)
	if err != nil {
		return err
	}
	last, err := lastEntry(r)
	if err = errors.Join(err, r.Close()); err != nil {
		return err
	}
	defer context.AfterFunc(m.ctx, cancel)()
	return wait.Until(ctx, waitInterval, func() (bool, error) {
		if m.Applied() >= last {
			return true, nil
		}
		m.poke()
		return false, nil
	})
}

// Exclusive implements Coordinator. Its steps: log a freeze, wait until all servers acknowledge it, run change, log the end of the
// freeze, and wait until all servers have seen that.
func (m *Member) Exclusive(ctx context.Context, key []byte, change func(check func(kv.Txn) error) error) error {
	// Never 0, which in an entry means a change.
	token := rand.Uint64() | 1
	n, err := m.beginFreeze(ctx, key, token)
	if err == nil {
		if err = m.wait(ctx, n); err == nil {
			err = change(func(txn kv.Txn) error { return m.holds(txn, token) })
		}
	} else if !errors.Is(err, kv.ErrUndetermined) {
		return err
	}
	// End the freeze even if the caller gives up, and however long the store is unavailable.
	ended := make(chan error, 1)
	m.done.Start(m.opt.Logger, "ending a freeze", func() {
		ended <- guard.Run(m.opt.Logger, "ending a freeze", func() error { return m.thaw(key, token) })
	})
	select {
	case endErr := <-ended:
		if err == nil {
			err = endErr
		}
	case <-ctx.Done():
		if err == nil {
			err = ctx.Err()
		}
	}
	return err
}

// thaw ends a freeze, retrying until the store answers, and returns once all servers have seen its end.
func (m *Member) thaw(key []byte, token uint64) error {
	for {
		n, err := m.endFreeze(m.ctx, key, token)
		if err == nil {
			return m.wait(m.ctx, n)
		}
		m.opt.Logger.Warn("cannot end a freeze; retrying", "error", err.Error())
		if wait.Pause(m.ctx, thawPause) != nil {
			return err // Close releases the freeze
		}
	}
}

// beginFreeze waits until nothing is frozen, and asks all servers to freeze the key. It returns the number of the log entry.
func (m *Member) beginFreeze(ctx context.Context, key []byte, token uint64) (n uint64, err error) {
	at := keyspace.ClusterFreeze()
	err = wait.Until(ctx, waitInterval, func() (free bool, err error) {
		err = kv.Update(ctx, m.kv, kv.TxnOpt{Hint: [][]byte{at}, Fence: m.fence}, func(txn kv.Txn) error {
			raw, err := txn.Get(at)
			if free = raw == nil; err != nil || !free {
				return err
			}
			if err := put(txn, at, freeze{Holder: m.info.ID, Token: token, Key: key}); err != nil {
				return err
			}
			n, err = log(txn, entry{Key: key, Freeze: token})
			return err
		})
		return free, err
	})
	if err != nil {
		return 0, err
	}
	m.changed(n)
	return n, nil
}

// holds makes a transaction commit only while this server holds the freeze.
func (m *Member) holds(txn kv.Txn, token uint64) error {
	var f freeze
	found, err := get(txn, keyspace.ClusterFreeze(), &f)
	if err != nil {
		return err
	}
	if !found || f.Token != token {
		return fmt.Errorf("%w: %w", kv.ErrFenced, errLost)
	}
	return txn.Guard(keyspace.ClusterFreeze())
}

// endFreeze logs the end of a freeze, unless others have ended it already; n is 0 then.
func (m *Member) endFreeze(ctx context.Context, key []byte, token uint64) (n uint64, err error) {
	at := keyspace.ClusterFreeze()
	err = kv.Update(ctx, m.kv, kv.TxnOpt{Hint: [][]byte{at}}, func(txn kv.Txn) error {
		n = 0
		var f freeze
		found, err := get(txn, at, &f)
		if err != nil || !found || f.Token != token {
			return err // another server has ended it
		}
		if err := txn.Delete(at, 0); err != nil {
			return err
		}
		n, err = log(txn, entry{Key: key})
		return err
	})
	if err == nil && n != 0 {
		m.changed(n)
	}
	return n, err
}

// Claim implements Coordinator.
func (m *Member) Claim(ctx context.Context, job string) (bool, error) {
	key := keyspace.ClusterLease(job)
	mine := false
	err := kv.Update(ctx, m.kv, kv.TxnOpt{Hint: [][]byte{key}, Fence: m.fence}, func(txn kv.Txn) error {
		holder, err := txn.Get(key)
		if mine = string(holder) == m.info.ID; err != nil || mine || holder != nil {
			return err
		}
		mine = true
		return txn.Put(key, []byte(m.info.ID))
	})
	return mine && err == nil, err
}

// Release implements Coordinator.
func (m *Member) Release(job string) {
	ctx, cancel := context.WithTimeout(context.Background(), deadAfter)
	defer cancel()
	key := keyspace.ClusterLease(job)
	err := kv.Update(ctx, m.kv, kv.TxnOpt{Hint: [][]byte{key}}, func(txn kv.Txn) error {
		holder, err := txn.Get(key)
		if err != nil || string(holder) != m.info.ID {
			return err
		}
		return txn.Delete(key, 0)
	})
	// Nobody else can take the job until this server ends, so tell the operator.
	if err != nil {
		m.opt.Logger.Warn("cannot release a job: it stays idle until this server ends", "job", job, "error", err.Error())
	}
}

// Lead registers a job that exactly one of the servers runs until ctx ends. takeOver, if not nil, is called before run: another server
// may have run the job until then. run's ctx ends when this server loses the job or ctx ends; run must then return. It must tolerate work
// done by others.
func (m *Member) Lead(ctx context.Context, job string, takeOver, run func(ctx context.Context)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leads[job] = &leadJob{ctx: ctx, takeOver: takeOver, run: run}
}

// Leads reports whether this server runs a job.
func (m *Member) Leads(job string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.leads[job]
	return l != nil && l.cancel != nil
}

// Exchange runs a job once per interval until ctx ends, as every other server does too, to exchange data with them.
func (m *Member) Exchange(ctx context.Context, name string, interval time.Duration, job func(context.Context, *Member)) {
	m.work.Start(m.opt.Logger, name, func() {
		jobs.Every(ctx, m.opt.Logger, name, interval, func() { job(ctx, m) })
	})
}

// Wait returns once the work of Lead and Exchange has ended. The contexts given to them must have ended.
func (m *Member) Wait() {
	m.mu.Lock()
	clear(m.leads) // a job whose lease is taken just now doesn't begin
	m.mu.Unlock()
	m.work.Wait()
}

// take takes over at most one job that no server runs: one per beat, so that servers that start together share the jobs.
func (m *Member) take(ctx context.Context) error {
	m.mu.Lock()
	var free []string
	for job, l := range m.leads {
		if l.cancel == nil && (l.ended == nil || isClosed(l.ended)) {
			free = append(free, job)
		}
	}
	m.mu.Unlock()
	rand.Shuffle(len(free), func(i, j int) { free[i], free[j] = free[j], free[i] })
	for _, job := range free {
		mine, err := m.Claim(ctx, job)
		if err != nil {
			return err
		}
		if mine {
			m.lead(job)
			return nil
		}
	}
	return nil
}

// isClosed reports whether a channel is closed, without blocking.
func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// lead starts a job whose lease this server has just taken.
func (m *Member) lead(job string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.leads[job]
	if l == nil {
		return // Wait was called; Close releases the lease
	}
	ctx, cancel := context.WithCancel(l.ctx)
	l.cancel, l.ended = cancel, make(chan struct{})
	m.work.Start(m.opt.Logger, job, func() {
		defer close(l.ended)
		defer context.AfterFunc(m.ctx, cancel)()
		guard.Loop(ctx, m.opt.Logger, job, func() {
			if l.takeOver != nil {
				l.takeOver(ctx)
			}
			l.run(ctx)
		})
	})
}

// stopLeading stops the jobs that this server runs, since its leases may be lost.
func (m *Member) stopLeading() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.leads {
		if l.cancel != nil {
			l.cancel()
			l.cancel = nil
		}
	}
}

// Servers implements Coordinator.
func (m *Member) Servers() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return max(1, len(m.others))
}

// DAX returns the function that lists the addresses of the other servers' DAX nodes, with or without TLS, sorted.
func (m *Member) DAX() func(encrypted bool) []string { return m.daxNodes }

func (m *Member) daxNodes(encrypted bool) (list []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, o := range m.others {
		switch {
		case id == m.info.ID:
		case encrypted:
			list = append(list, o.DAXTLS...)
		default:
			list = append(list, o.DAX...)
		}
	}
	slices.Sort(list)
	return list
}

// Publish replaces this server's message to the others. It is state, not a queue: readers see only the latest.
func (m *Member) Publish(ctx context.Context, what []byte) error {
	key := keyspace.ClusterMessage(m.info.ID)
	return kv.Update(ctx, m.kv, kv.TxnOpt{NoSync: true}, func(txn kv.Txn) error { return txn.Put(key, what) })
}

// Published returns the other servers' messages, by server id.
func (m *Member) Published(ctx context.Context) (map[string][]byte, error) {
	r, err := m.kv.Latest(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	prefix := keyspace.ClusterMessage("")
	err = kv.Each(ctx, r, kv.Prefix(prefix), func(key, val []byte) error {
		if id := string(key[len(prefix):]); id != m.info.ID {
			out[id] = bytes.Clone(val)
		}
		return nil
	})
	return out, errors.Join(err, r.Close())
}

// Trim deletes log entries that all servers have seen, except for the last keepEntries.
func (m *Member) Trim(ctx context.Context) error {
	m.mu.Lock()
	n := m.seen
	for _, o := range m.others {
		n = min(n, o.Seen)
	}
	m.mu.Unlock()
	if n <= keepEntries {
		return nil
	}
	return m.kv.DeleteRange(ctx, kv.Range{Start: keyspace.ClusterEntry(0), End: keyspace.ClusterEntry(n - keepEntries)})
}
