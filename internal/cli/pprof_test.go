package cli

import (
	"net/http/httptest"
	"testing"

	"github.com/statordb/stator/internal/httpd"
)

// TestProfilesAreForThisMachine checks that profiles, which reveal memory, are refused to other hosts' web pages, which could
// reach them by DNS rebinding.
func TestProfilesAreForThisMachine(t *testing.T) {
	for host, status := range map[string]int{"127.0.0.1:6060": 200, "localhost:6060": 200, "evil.example:6060": 403} {
		rw := httptest.NewRecorder()
		profiles(httpd.Web{}).ServeHTTP(rw, httptest.NewRequest("GET", "http://"+host+"/debug/pprof/", nil))
		if rw.Code != status {
			t.Errorf("%s: %d %s", host, rw.Code, rw.Body)
		}
	}
}
