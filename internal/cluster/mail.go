package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"time"

	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
)

// keepMail is how long an entry stays readable, at least.
const keepMail = 10 * time.Second

// Mail is a channel for short-lived messages that servers exchange many times a second, such as DAX invalidations. They
// bypass the log, whose entries every server must acknowledge. A server that misses entries learns that it did, not
// what they said. A Mail is not safe for concurrent use.
type Mail struct {
	m        *Member
	sent     uint64            // number of the last entry
	kept     []sent            // entries that have not been deleted yet
	read     map[string]uint64 // number of the last entry read from each server, by its id
	received time.Time         // time of the last complete Receive
}

// sent is an entry of this server's mail.
type sent struct {
	number uint64
	at     time.Time
}

// Mail returns the server's mailbox. It receives entries that are sent from now on, and some older ones.
func (m *Member) Mail() *Mail { return &Mail{m: m, read: map[string]uint64{}, received: time.Now()} }

// Send adds an entry for all other servers, and deletes entries older than keepMail. After an error the entry may or
// may not have been sent.
func (b *Mail) Send(ctx context.Context, data []byte) error {
	id, now := b.m.ID(), time.Now()
	b.sent++ // also on failure: others may have read it
	old := 0
	for old < len(b.kept) && now.Sub(b.kept[old].at) > keepMail {
		old++
	}
	err := kv.Update(ctx, b.m.kv, kv.TxnOpt{NoSync: true, Background: true}, func(txn kv.Txn) error {
		for _, s := range b.kept[:old] {
			if err := txn.Delete(keyspace.ClusterMail(id, s.number), 0); err != nil {
				return err
			}
		}
		return txn.Put(keyspace.ClusterMail(id, b.sent), data)
	})
	if err == nil {
		b.kept = b.kept[old:]
	}
	b.kept = append(b.kept, sent{b.sent, now})
	return err
}

// Receive calls visit for each new entry of other servers, in the order in which each server sent them. It calls missed
// whenever entries may have been lost; the caller must then assume the worst.
func (b *Mail) Receive(ctx context.Context, visit func(data []byte), missed func()) error {
	others := b.m.otherIDs()
	now := time.Now()
	// Entries may have expired unread. Half of keepMail leaves time for slow commits.
	if now.Sub(b.received) > keepMail/2 {
		missed()
	}
	before := len(b.read)
	maps.DeleteFunc(b.read, func(id string, _ uint64) bool { return !others[id] })
	if len(b.read) < before { // a server left, perhaps with entries unread
		missed()
	}
	r, err := b.m.kv.Latest(ctx)
	if err != nil {
		return err
	}
	for id := range others {
		from := kv.Range{Start: keyspace.ClusterMail(id, b.read[id]+1), End: kv.PrefixEnd(keyspace.ClusterMails(id))}
		err = errors.Join(err, kv.Each(ctx, r, from, func(key, val []byte) error {
			n := binary.BigEndian.Uint64(key[len(key)-8:])
			if n != b.read[id]+1 {
				missed()
			}
			b.read[id] = n
			visit(val)
			return nil
		}))
		if _, known := b.read[id]; !known {
			b.read[id] = 0
		}
	}
	if err = errors.Join(err, r.Close()); err == nil {
		b.received = now
	}
	return err
}

// otherIDs returns the ids of all other live servers.
func (m *Member) otherIDs() map[string]bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string]bool{}
	for id := range m.others {
		if id != m.info.ID {
			out[id] = true
		}
	}
	return out
}
