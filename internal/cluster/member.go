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
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/periodic"
)

const (
	// beatInterval is how often a server renews its record.
	beatInterval = time.Second
	// deadAfter is how long others wait for that until they replace it, and validFor for how long after it began to renew its
	// record it may write: the rest is for a commit that was sent in time and comes late.
	deadAfter = 5 * time.Second
	validFor  = 3 * time.Second
	// pollInterval is how often a server looks at the log.
	pollInterval = 25 * time.Millisecond
	// waitInterval is how often a server that waits for others looks how far they are.
	waitInterval = 5 * time.Millisecond
	// thawPause is how long after a failure to end a freeze it is tried again.
	thawPause = 100 * time.Millisecond
	// keepEntries is how many entries of the log are kept for servers that come back.
	keepEntries = 10000
)

// Options configure a Member.
type Options struct {
	KV     kv.Store
	Info   Info
	Logger *slog.Logger
	// Left hears, in a goroutine of its own, that a server has gone, after what it held was released; nil for nothing.
	Left func()
	// Evict ends all transactions of a server that was replaced, and returns when none of them can commit any more; nil where the
	// store needs no such help.
	Evict func(ctx context.Context, id string) error
}

// Member is a server of several.
type Member struct {
	kv       kv.Store
	opt      Options
	info     Info
	watchers watchers

	renewing sync.Mutex // held while the record is written, so that no older one comes last

	mu      sync.Mutex
	valid   time.Time // until when this server may write
	beat    uint64
	read    uint64    // entries of the log that were begun
	seen    uint64    // entries that are done, and all before
	told    uint64    // seen, as the record says it
	own     uint64    // the last entry that this server has added
	frozen  []*frozen // one, but where this server was away
	rejoin  uint64    // before it has seen so many entries, a server that was away must not write
	others  map[string]*observed
	leads   map[string]*led
	settled uint64

	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup
	kick   chan struct{} // to look at the log at once
}

// observed is when a server's record was seen to change last, by this server's clock.
type observed struct {
	Server
	at time.Time
}

// frozen is a freeze that this server takes part in.
type frozen struct {
	key    []byte
	done   bool // nobody depends on the key
	thawed bool // it has ended before that
}

// led is a job that one server of all does.
type led struct {
	run    func(ctx context.Context)
	cancel context.CancelFunc // nil if this server does not do it
	ended  chan struct{}
}

var errLost = errors.New("this server could not renew its lease: another may have taken its place")

// Join makes the server one of those of the store. It follows the log from Start on.
func Join(ctx context.Context, opt Options) (*Member, error) {
	m := &Member{kv: opt.KV, opt: opt, info: opt.Info, others: map[string]*observed{}, leads: map[string]*led{}, kick: make(chan struct{}, 1)}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	began := time.Now()
	err := kv.Update(ctx, m.kv, kv.TxnOpt{}, func(txn kv.Txn) error {
		n, err := lastEntry(txn)
		if err != nil {
			return err
		}
		m.read, m.seen, m.told = n, n, n
		var f freeze
		found, err := get(txn, keyspace.FleetFreeze(), &f)
		if err != nil {
			return err
		}
		if m.frozen = nil; found {
			m.frozen = []*frozen{{key: f.Key}} // of which the log tells no more
		}
		// Nobody logs in between.
		if err := txn.Guard(keyspace.FleetLog()); err != nil {
			return err
		}
		return put(txn, keyspace.FleetServer(m.info.ID), Server{Info: m.info, Seen: n})
	})
	if err != nil {
		return nil, err
	}
	m.valid = began.Add(validFor)
	m.done.Add(1)
	guard.Go(m.opt.Logger, "renewing this server's lease", func() {
		defer m.done.Done()
		m.beatLoop()
	})
	return m, nil
}

// Start follows the log. What was registered by Watch must have been read from the store since Join.
func (m *Member) Start(ctx context.Context) error {
	for _, f := range m.frozen { // nobody follows the log yet
		m.watchers.of(f.key).Freeze(f.key)
		f.done = true
	}
	if err := m.look(ctx); err != nil {
		return err
	}
	m.done.Add(1)
	guard.Go(m.opt.Logger, "following the other servers", func() {
		defer m.done.Done()
		guard.Loop(m.ctx, m.opt.Logger, "following the other servers", m.follow)
	})
	return nil
}

// Close leaves the fleet: what the server held is free at once.
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
	ctx, cancel := context.WithTimeout(context.Background(), deadAfter)
	defer cancel()
	return m.remove(ctx, m.info.ID, nil)
}

// Watch implements Fleet.
func (m *Member) Watch(prefix []byte, w Watcher) { m.watchers.add(prefix, w) }

// ID returns the server's own id.
func (m *Member) ID() string { return m.info.ID }

// Tell changes what others are told of this server, from its next beat on.
func (m *Member) Tell(change func(*Info)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(&m.info)
}

// fence refuses commits of a server that may have been replaced.
func (m *Member) fence() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Now().After(m.valid) || m.seen < m.rejoin {
		return errLost
	}
	return nil
}

// changed hears that this server has added to the log.
func (m *Member) changed(n uint64) {
	m.mu.Lock()
	m.own = max(m.own, n)
	m.mu.Unlock()
	m.poke()
}

func (m *Member) poke() {
	select {
	case m.kick <- struct{}{}:
	default:
	}
}

// beatLoop renews the server's record, looks after others, and takes what is free.
func (m *Member) beatLoop() {
	periodic.Run(m.ctx, m.opt.Logger, "renewing this server's lease", beatInterval, func() {
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
			m.opt.Logger.Warn("renewing this server's lease failed", "error", err.Error())
		}
		if m.fence() != nil {
			m.stopLeading()
		}
	})
}

// renew writes the server's record.
func (m *Member) renew(ctx context.Context) error {
	m.renewing.Lock()
	defer m.renewing.Unlock()
	m.mu.Lock()
	m.beat++
	s := Server{Info: m.info, Beat: m.beat, Seen: m.seen}
	m.mu.Unlock()
	began := time.Now()
	key := keyspace.FleetServer(s.ID)
	back, last := false, uint64(0)
	err := kv.Update(ctx, m.kv, kv.TxnOpt{Hint: [][]byte{key}}, func(txn kv.Txn) error {
		raw, err := txn.Get(key)
		if err != nil {
			return err
		}
		if back = raw == nil; back {
			// Others have removed it. It follows the log from where it was, if that is still there.
			if last, err = lastEntry(txn); err != nil {
				return err
			}
			if last > s.Seen+keepEntries {
				return fmt.Errorf("this server was away for too long: %d changes", last-s.Seen)
			}
			if err := txn.Guard(keyspace.FleetLog()); err != nil { // from here on others wait for this server
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
		m.opt.Logger.Warn("this server was taken for dead by others, and is back")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.told = max(m.told, s.Seen)
	m.valid, m.rejoin = began.Add(validFor), max(m.rejoin, last)
	return nil
}

// look reads the others' records, and removes the servers that are dead.
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
		m.opt.Logger.Warn("a server has died", "server", dead.ID, "url", dead.URL)
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

// observe takes note of records, and returns the servers that are dead.
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
	if len(m.others) < before && m.opt.Left != nil && m.ctx.Err() == nil {
		m.done.Add(1)
		guard.Go(m.opt.Logger, "going on with what another server has left", func() {
			defer m.done.Done()
			m.opt.Left()
		})
	}
	return dead
}

// remove removes a server with all that it holds; beat is the last one that was seen of it, which must still be so.
func (m *Member) remove(ctx context.Context, id string, beat *uint64) error {
	var n uint64
	err := kv.Update(ctx, m.kv, kv.TxnOpt{}, func(txn kv.Txn) error {
		n = 0
		var s Server
		found, err := get(txn, keyspace.FleetServer(id), &s)
		if err != nil || !found || beat != nil && s.Beat != *beat {
			return err
		}
		leases, err := Leases(ctx, txn)
		if err != nil {
			return err
		}
		if err := errors.Join(txn.Delete(keyspace.FleetServer(id), 0), txn.Delete(keyspace.FleetNews(id), 0)); err != nil {
			return err
		}
		for _, l := range leases {
			if l.Holder != id {
				continue
			}
			if holder, err := txn.Get(keyspace.FleetLease(l.Job)); err != nil || string(holder) != id {
				return errors.Join(err, kv.ErrConflict)
			}
			if err := txn.Delete(keyspace.FleetLease(l.Job), 0); err != nil {
				return err
			}
		}
		var f freeze
		if found, err := get(txn, keyspace.FleetFreeze(), &f); err != nil || !found || f.Holder != id {
			return err
		}
		if err := txn.Delete(keyspace.FleetFreeze(), 0); err != nil {
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
	mail := keyspace.FleetMails(id)
	return m.kv.DeleteRange(ctx, kv.Range{Start: mail, End: keyspace.PrefixEnd(mail)})
}

// follow follows the log.
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
			m.opt.Logger.Warn("following the other servers failed", "error", err.Error())
			select {
			case <-m.ctx.Done():
			case <-time.After(beatInterval):
			}
		}
	}
}

// catchUp does what the log says, and tells others how far it has come.
func (m *Member) catchUp(ctx context.Context) error {
	r, err := m.kv.Latest(ctx)
	if err != nil {
		return err
	}
	last, err := lastEntry(r)
	if err != nil || last == m.read {
		return errors.Join(err, r.Close(), m.tell(ctx))
	}
	var list []entry
	rng := kv.Range{Start: keyspace.FleetEntry(m.read + 1), End: keyspace.FleetEntry(last + 1)}
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
	for _, e := range list {
		if e.Freeze != 0 {
			m.freeze(e.Key)
		} else if err := m.reload(ctx, e.Key); err != nil {
			return err
		}
	}
	return m.tell(ctx)
}

// step counts an entry that was begun; m.mu is held.
func (m *Member) step() {
	m.read++
	m.advance()
}

// advance counts what is done; m.mu is held. An entry behind a freeze is done only when nobody depends any more on what is frozen.
func (m *Member) advance() {
	if !slices.ContainsFunc(m.frozen, func(f *frozen) bool { return !f.done }) {
		m.seen = m.read
	}
}

// freeze begins to take part in a freeze.
func (m *Member) freeze(key []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := &frozen{key: key}
	m.frozen = append(m.frozen, f)
	m.step()
	m.done.Add(1)
	guard.Go(m.opt.Logger, "freezing", func() {
		defer m.done.Done()
		m.watchers.of(key).Freeze(key)
		m.mu.Lock()
		f.done = !f.thawed
		m.advance()
		m.mu.Unlock()
		for f.thawed && m.ctx.Err() == nil { // which does not change any more
			err := m.thawed(m.ctx, f)
			if err == nil {
				break
			}
			m.opt.Logger.Warn("following the other servers failed", "error", err.Error())
			time.Sleep(thawPause)
		}
		m.poke()
	})
}

// thawed reads what was frozen anew.
func (m *Member) thawed(ctx context.Context, f *frozen) error {
	if err := m.watchers.of(f.key).Reload(ctx, f.key); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.frozen = slices.DeleteFunc(m.frozen, func(other *frozen) bool { return other == f })
	m.advance()
	return nil
}

// reload reads what has changed, and ends the freeze of it.
func (m *Member) reload(ctx context.Context, key []byte) error {
	m.mu.Lock()
	at := slices.IndexFunc(m.frozen, func(f *frozen) bool { return bytes.Equal(f.key, key) && !f.thawed })
	var f *frozen
	if at >= 0 {
		f = m.frozen[at]
		if !f.done {
			// Whoever had it frozen has not waited for this server, or has given up. What is known of the key is used still, so the rest
			// is for who waits for that to end.
			f.thawed = true
			m.step()
			m.mu.Unlock()
			return nil
		}
	}
	m.mu.Unlock()
	var err error
	if f != nil {
		err = m.thawed(ctx, f)
	} else {
		err = m.watchers.of(key).Reload(ctx, key)
	}
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.step()
	return nil
}

// tell writes how far the server has come, if that has changed.
func (m *Member) tell(ctx context.Context) error {
	m.mu.Lock()
	due := m.seen > m.told
	m.mu.Unlock()
	if !due {
		return nil
	}
	return m.renew(ctx)
}

// wait returns when all servers have seen the log's entries up to a number.
func (m *Member) wait(ctx context.Context, n uint64) error {
	for {
		if err := m.look(ctx); err != nil {
			return err
		}
		if m.allSeen(n) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(waitInterval):
		}
	}
}

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

// Settle implements Fleet.
func (m *Member) Settle(ctx context.Context) error {
	m.mu.Lock()
	own, settled := m.own, m.settled
	m.mu.Unlock()
	if own <= settled {
		return nil
	}
	return m.wait(ctx, own)
}

// Heard returns how many entries of the log this server has followed.
func (m *Member) Heard() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.read
}

// CatchUp returns when this server has followed the log up to where it ends now.
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
	for m.Heard() < last {
		m.poke()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-m.ctx.Done():
			return m.ctx.Err()
		case <-time.After(waitInterval):
		}
	}
	return nil
}

// Exclusive implements Fleet.
func (m *Member) Exclusive(ctx context.Context, key []byte, change func(check func(kv.Txn) error) error) error {
	token := rand.Uint64() | 1
	n, err := m.beginFreeze(ctx, key, token)
	if err == nil {
		if err = m.wait(ctx, n); err == nil {
			err = change(func(txn kv.Txn) error { return m.holds(txn, token) })
		}
	} else if !errors.Is(err, kv.ErrUndetermined) {
		return err
	}
	// It has to be ended, whoever waits for it, and however long the store does not answer.
	ended := make(chan error, 1)
	m.done.Add(1)
	guard.Go(m.opt.Logger, "ending a freeze", func() {
		defer m.done.Done()
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

// thaw ends a freeze, and returns when all servers have seen its end.
func (m *Member) thaw(key []byte, token uint64) error {
	for {
		n, err := m.endFreeze(m.ctx, key, token)
		if err == nil {
			return m.wait(m.ctx, n)
		}
		m.opt.Logger.Warn("ending a freeze failed, and is tried again", "error", err.Error())
		select {
		case <-m.ctx.Done():
			return err // Close frees what this server holds
		case <-time.After(thawPause):
		}
	}
}

// beginFreeze waits until nothing is frozen, and asks all servers to freeze the key.
func (m *Member) beginFreeze(ctx context.Context, key []byte, token uint64) (n uint64, err error) {
	at := keyspace.FleetFreeze()
	for {
		busy := false
		err = kv.Update(ctx, m.kv, kv.TxnOpt{Hint: [][]byte{at}, Fence: m.fence}, func(txn kv.Txn) error {
			raw, err := txn.Get(at)
			if busy = raw != nil; err != nil || busy {
				return err
			}
			if err := put(txn, at, freeze{m.info.ID, token, key}); err != nil {
				return err
			}
			n, err = log(txn, entry{Key: key, Freeze: token})
			return err
		})
		if err != nil {
			return 0, err
		}
		if !busy {
			m.changed(n)
			return n, nil
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(waitInterval):
		}
	}
}

// holds makes sure that a transaction commits only while the freeze is this server's.
func (m *Member) holds(txn kv.Txn, token uint64) error {
	var f freeze
	found, err := get(txn, keyspace.FleetFreeze(), &f)
	if err != nil {
		return err
	}
	if !found || f.Token != token {
		return fmt.Errorf("%w: %w", kv.ErrFenced, errLost)
	}
	return txn.Guard(keyspace.FleetFreeze())
}

// endFreeze tells all servers that they may go on.
func (m *Member) endFreeze(ctx context.Context, key []byte, token uint64) (n uint64, err error) {
	at := keyspace.FleetFreeze()
	err = kv.Update(ctx, m.kv, kv.TxnOpt{Hint: [][]byte{at}}, func(txn kv.Txn) error {
		n = 0
		var f freeze
		found, err := get(txn, at, &f)
		if err != nil || !found || f.Token != token {
			return err // others have ended it
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

// Claim implements Fleet.
func (m *Member) Claim(ctx context.Context, job string) (bool, error) {
	key := keyspace.FleetLease(job)
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

// Release implements Fleet.
func (m *Member) Release(job string) {
	ctx, cancel := context.WithTimeout(context.Background(), deadAfter)
	defer cancel()
	key := keyspace.FleetLease(job)
	err := kv.Update(ctx, m.kv, kv.TxnOpt{Hint: [][]byte{key}}, func(txn kv.Txn) error {
		holder, err := txn.Get(key)
		if err != nil || string(holder) != m.info.ID {
			return err
		}
		return txn.Delete(key, 0)
	})
	if err != nil {
		m.opt.Logger.Warn("giving a job up failed: nobody does it until this server ends", "job", job, "error", err.Error())
	}
}

// Lead has a job done by one server of all: this one, while nobody else does it. ctx ends when it must stop.
func (m *Member) Lead(job string, run func(ctx context.Context)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leads[job] = &led{run: run}
}

// take takes a job that nobody does: one at a time, so that servers that start together share them.
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

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (m *Member) lead(job string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.leads[job]
	ctx, cancel := context.WithCancel(m.ctx)
	l.cancel, l.ended = cancel, make(chan struct{})
	m.done.Add(1)
	guard.Go(m.opt.Logger, job, func() {
		defer m.done.Done()
		defer close(l.ended)
		guard.Loop(ctx, m.opt.Logger, job, func() { l.run(ctx) })
	})
}

// stopLeading ends what this server does for all.
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

// Servers implements Fleet.
func (m *Member) Servers() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return max(1, len(m.others))
}

// DAX returns where the DAX nodes of the other servers answer, with TLS or without, sorted.
func (m *Member) DAX(encrypted bool) (list []string) {
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

// Publish tells other servers something; what was told before is replaced.
func (m *Member) Publish(ctx context.Context, what []byte) error {
	key := keyspace.FleetNews(m.info.ID)
	return kv.Update(ctx, m.kv, kv.TxnOpt{NoSync: true}, func(txn kv.Txn) error { return txn.Put(key, what) })
}

// Published returns what others have told, by their ids.
func (m *Member) Published(ctx context.Context) (map[string][]byte, error) {
	r, err := m.kv.Latest(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	prefix := keyspace.FleetNews("")
	err = each(ctx, r, prefix, func(key, val []byte) error {
		if id := string(key[len(prefix):]); id != m.info.ID {
			out[id] = bytes.Clone(val)
		}
		return nil
	})
	return out, errors.Join(err, r.Close())
}

// Trim removes entries of the log that all servers have seen, but for the last keepEntries.
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
	return m.kv.DeleteRange(ctx, kv.Range{Start: keyspace.FleetEntry(0), End: keyspace.FleetEntry(n - keepEntries)})
}
