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

// keepMail is how long an entry of the mail can be read, at least.
const keepMail = 10 * time.Second

// Mail carries what servers tell each other many times a second, and nobody needs for long. One goroutine uses it.
type Mail struct {
	m        *Member
	sent     uint64            // the number of the last entry
	kept     []sent            // entries that are still there
	read     map[string]uint64 // how far others' were read, by their ids
	received time.Time         // when they last were
}

type sent struct {
	number uint64
	at     time.Time
}

// Mail returns the server's mail.
func (m *Member) Mail() *Mail { return &Mail{m: m, read: map[string]uint64{}, received: time.Now()} }

// Send adds an entry for all others. After an error it may or may not be there.
func (b *Mail) Send(ctx context.Context, data []byte) error {
	id, now := b.m.ID(), time.Now()
	b.sent++ // also where it fails: others may have read it
	old := 0
	for old < len(b.kept) && now.Sub(b.kept[old].at) > keepMail {
		old++
	}
	err := kv.Update(ctx, b.m.kv, kv.TxnOpt{NoSync: true, Background: true}, func(txn kv.Txn) error {
		for _, s := range b.kept[:old] {
			if err := txn.Delete(keyspace.FleetMail(id, s.number), 0); err != nil {
				return err
			}
		}
		return txn.Put(keyspace.FleetMail(id, b.sent), data)
	})
	if err == nil {
		b.kept = b.kept[old:]
	}
	b.kept = append(b.kept, sent{b.sent, now})
	return err
}

// Receive calls visit for each entry of others that it has not been called for, in the order in which that server has sent them. missed
// is called where there may have been entries that were not read.
func (b *Mail) Receive(ctx context.Context, visit func(data []byte), missed func()) error {
	others := b.m.otherIDs()
	now := time.Now()
	if now.Sub(b.received) > keepMail/2 {
		missed()
	}
	before := len(b.read)
	maps.DeleteFunc(b.read, func(id string, _ uint64) bool { return !others[id] })
	if len(b.read) < before { // it may have had something to say
		missed()
	}
	r, err := b.m.kv.Latest(ctx)
	if err != nil {
		return err
	}
	for id := range others {
		from := kv.Range{Start: keyspace.FleetMail(id, b.read[id]+1), End: keyspace.PrefixEnd(keyspace.FleetMails(id))}
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

// otherIDs returns the ids of the others that live.
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
