package paging_test

import (
	"testing"

	"github.com/statordb/stator/internal/kv/paging"
)

func TestPages(t *testing.T) {
	var sizes paging.Sizes
	check := func(p *paging.Pages, want int) {
		t.Helper()
		if got := p.Next(); got != want {
			t.Errorf("asks for %d rows, want %d", got, want)
		}
	}
	small := sizes.Pages([]byte("t-1-x-a"), 0)
	check(&small, paging.First)
	small.Got(64, 64*1024)
	check(&small, 255)
	small.Got(255, 255*10)
	check(&small, 4096)
	again := sizes.Pages([]byte("t-1-x-b"), 0)
	check(&again, paging.First)

	large := sizes.Pages([]byte("t-2-x-a"), 0)
	check(&large, paging.First) // the size of its rows is unknown
	large.Got(64, 64*400<<10)
	check(&large, 4)
	again = sizes.Pages([]byte("t-2-x-b"), 0)
	check(&again, 4)

	few := sizes.Pages([]byte("t-3-x"), 10)
	check(&few, 10)
	few.Got(8, 8*100)
	check(&few, 2)
	few.Got(2, 200)
	check(&few, 2595) // beyond the number of rows announced
	one := sizes.Pages([]byte("t-2-x-c"), 1)
	check(&one, 1)
	none := sizes.Pages(nil, 0)
	check(&none, paging.First)
}
