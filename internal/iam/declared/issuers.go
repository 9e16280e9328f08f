package declared

import (
	"path/filepath"
	"strings"

	"github.com/statordb/stator/internal/iam"
)

// ParseIssuers parses a file of OpenID Connect providers: a JSON list of {"issuer": URL, "audiences": [text, …], "jwks": file or URL}. The path of a file of
// keys is relative to the directory of the file itself. Its errors are joined Problems. Service.SetIssuers of package iam checks the values.
func ParseIssuers(name string, text []byte) (list []iam.Issuer, err error) {
	f := &file{path: name, text: text, at: map[place]int{}}
	p := newParser(f)
	p.whole(func() {
		p.list(func() {
			var i iam.Issuer
			p.object(members{"issuer": p.text("", &i.URL), "audiences": p.texts("", &i.Audiences), "jwks": p.text("", &i.Keys)})
			if i.Keys != "" && !strings.Contains(i.Keys, "://") && !filepath.IsAbs(i.Keys) {
				i.Keys = filepath.Join(filepath.Dir(name), i.Keys)
			}
			list = append(list, i)
		})
	})
	var failed []error
	for _, p := range f.problems {
		failed = append(failed, p)
	}
	return list, join(failed)
}
