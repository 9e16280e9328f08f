package smithy

import (
	"slices"
	"testing"
)

// TestPages reads a list page by page: every element comes once, and only the last page has no place to continue at.
func TestPages(t *testing.T) {
	name := func(s string) string { return s }
	all := []string{"a", "b", "d", "e", "f"}
	for limit := range int64(7) {
		var got []string
		var at Opt[string]
		for more := true; more; more = at.Set {
			page, last := Page(After(all, at, name), limit, name)
			if got = append(got, page...); len(page) == 0 || len(page) > int(max(limit, 1)) || last.Set && last.Value != page[len(page)-1] {
				t.Fatalf("limit %d after %q: %q, last %q", limit, at.Value, page, last.Value)
			}
			at = last
		}
		if !slices.Equal(got, all) {
			t.Errorf("limit %d: %q", limit, got)
		}
	}
	// The element after which a page begins may have been removed.
	if got := After(all, Some("c"), name); !slices.Equal(got, all[2:]) {
		t.Errorf("after c: %q", got)
	}
}
