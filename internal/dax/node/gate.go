package node

import (
	"container/list"
	"net"
	"net/netip"
	"sync"
)

const (
	// strangerShare and addressShare are divisors of a gate's limit. They give the most strangers that one address may have, and the
	// most connections that it may have once the limit is near.
	strangerShare = 8
	addressShare  = 2
	// maxSample is how many connections are examined to choose one for closing. It bounds the time under the lock.
	maxSample = 64
)

// gate bounds the connections of a Service. A connection is a stranger until its client is authenticated. When connections run
// short, a new one replaces another, so that no number of idle connections keeps clients out:
//
//	G1  An address has at most limit/strangerShare strangers: one more replaces the address's oldest.
//	G2  At the limit, the oldest stranger is closed. Without strangers, an idle connection is: of the address with the most
//	    connections, the one that has been idle longest.
//	G3  From three quarters of the limit on, an address with limit/addressShare connections or more replaces its own, in the
//	    same order.
//	G4  A connection with a running request is never closed for another. If all have one, new connections are refused.
type gate struct {
	limit int

	mu        sync.Mutex
	conns     map[*conn]*list.Element // to its element in strangers; nil if authenticated
	strangers *list.List              // of *conn, the oldest first
	addresses map[netip.Addr]*address
}

// address is the connections from one network address.
type address struct {
	conns     map[*conn]*list.Element // to its element in strangers; nil if authenticated
	strangers *list.List
}

func newGate(limit int) *gate {
	return &gate{limit: limit, conns: map[*conn]*list.Element{}, strangers: list.New(), addresses: map[netip.Addr]*address{}}
}

// addressOf returns the address that a connection counts for. IPv6 addresses count by their first 64 bits: one host has all of those.
func addressOf(nc net.Conn) netip.Addr {
	at, err := netip.ParseAddrPort(nc.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	addr := at.Addr().Unmap().WithZone("")
	if addr.Is6() {
		if prefix, err := addr.Prefix(64); err == nil {
			addr = prefix.Addr()
		}
	}
	return addr
}

// admit registers a connection as a stranger. If that takes another connection's place, admit closes that one. It returns false if
// there is none to close.
func (g *gate) admit(c *conn) bool {
	g.mu.Lock()
	from := g.addresses[c.from]
	if from == nil {
		from = &address{conns: map[*conn]*list.Element{}, strangers: list.New()}
		g.addresses[c.from] = from
	}
	var victim *conn
	full := false
	switch {
	case from.strangers.Len() >= max(1, g.limit/strangerShare): // G1
		victim = from.strangers.Front().Value.(*conn)
	case len(g.conns) >= g.limit-g.limit/4 && len(from.conns) >= max(1, g.limit/addressShare): // G3
		victim = g.choose(from.strangers, from.conns)
		full = victim == nil
	case len(g.conns) >= g.limit: // G2
		victim = g.choose(g.strangers, g.conns)
		full = victim == nil
	}
	if victim != nil {
		g.remove(victim)
	}
	if !full {
		g.addresses[c.from] = from // again, because the victim may have been its last connection
		g.conns[c], from.conns[c] = g.strangers.PushBack(c), from.strangers.PushBack(c)
	} else if len(from.conns) == 0 {
		delete(g.addresses, c.from)
	}
	g.mu.Unlock()
	if victim != nil {
		victim.cut()
	}
	return !full
}

// choose returns the connection to close: the oldest stranger, or an idle connection; nil if there is neither. g.mu is held.
func (g *gate) choose(strangers *list.List, conns map[*conn]*list.Element) (victim *conn) {
	if oldest := strangers.Front(); oldest != nil {
		return oldest.Value.(*conn)
	}
	most, longest, seen := 0, int64(0), 0
	for c := range conns { // map order is random
		if seen++; seen > maxSample {
			break
		}
		if c.running.Load() { // a slow sender counts as idle
			continue
		}
		size, since := len(g.addresses[c.from].conns), c.since.Load()
		if victim == nil || size > most || size == most && since < longest {
			victim, most, longest = c, size, since
		}
	}
	return victim
}

// relieve closes a connection because the process has run out of file descriptors.
func (g *gate) relieve() {
	g.mu.Lock()
	victim := g.choose(g.strangers, g.conns)
	if victim != nil {
		g.remove(victim)
	}
	g.mu.Unlock()
	if victim != nil {
		victim.cut()
	}
}

// introduced records that a stranger was authenticated, or that a client has lost its authentication.
func (g *gate) introduced(c *conn, known bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	e, here := g.conns[c]
	if !here || (e == nil) == known { // it is being closed, or nothing changes
		return
	}
	from := g.addresses[c.from]
	if !known {
		g.conns[c], from.conns[c] = g.strangers.PushBack(c), from.strangers.PushBack(c)
		return
	}
	g.strangers.Remove(e)
	from.strangers.Remove(from.conns[c])
	g.conns[c], from.conns[c] = nil, nil
}

// leave unregisters a connection.
func (g *gate) leave(c *conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.remove(c)
}

// remove unregisters a connection, if it is registered. g.mu is held.
func (g *gate) remove(c *conn) {
	e, here := g.conns[c]
	if !here {
		return
	}
	from := g.addresses[c.from]
	if e != nil {
		g.strangers.Remove(e)
		from.strangers.Remove(from.conns[c])
	}
	delete(g.conns, c)
	delete(from.conns, c)
	if len(from.conns) == 0 {
		delete(g.addresses, c.from)
	}
}

// counts returns the number of connections, and of the strangers among them.
func (g *gate) counts() (all, strangers int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.conns), g.strangers.Len()
}
