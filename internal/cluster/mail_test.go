package cluster

import (
	"strings"
	"testing"

	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
)

// TestMail has one server send entries to others: one joins late, one misses an entry, and both see the sender leave.
func TestMail(t *testing.T) {
	store := newStore(t)
	a, b := join(t, store, "a", &users{}), join(t, store, "b", &users{})
	eventually(t, "the servers to know each other", func() bool { return b.otherIDs()["a"] && a.otherIDs()["b"] })
	out, in := a.Mail(), b.Mail()
	receive := func(in *Mail) (got string) {
		t.Helper()
		var parts []string
		if err := in.Receive(ctx, func(data []byte) { parts = append(parts, string(data)) }, func() { parts = append(parts, "missed") }); err != nil {
			t.Fatal(err)
		}
		return strings.Join(parts, " ")
	}
	send := func(data string) {
		t.Helper()
		if err := out.Send(ctx, []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(in *Mail, want string) {
		t.Helper()
		if got := receive(in); got != want {
			t.Errorf("received %q, want %q", got, want)
		}
	}
	expect(in, "")
	send("one")
	send("two")
	expect(in, "one two")
	expect(in, "")
	if got := receive(out); got != "" {
		t.Errorf("a server received its own mail: %q", got)
	}
	out.sent++ // an entry that could not be stored
	send("four")
	expect(in, "missed four")
	for i := range out.kept {
		out.kept[i].at = out.kept[i].at.Add(-2 * keepMail)
	}
	send("five") // this also deletes old entries
	expect(b.Mail(), "missed five")
	expect(in, "five")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server to have gone", func() bool { return !b.otherIDs()["a"] })
	expect(in, "missed")
	expect(in, "")
	r, err := store.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	prefix := keyspace.ClusterMails("a")
	err = kv.Each(ctx, r, kv.Prefix(prefix), func(key, _ []byte) error {
		t.Errorf("%q was not deleted", key)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
