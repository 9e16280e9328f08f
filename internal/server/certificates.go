package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/statordb/stator/internal/auth"
	"github.com/statordb/stator/internal/certs"
	"github.com/statordb/stator/internal/jobs"
)

// certificatesInterval is how often the server checks the certificates' files for changes.
const certificatesInterval = 10 * time.Second

// certificates are those of the listeners, nil for a front end without TLS. One source may serve both.
type certificates struct{ http, dax *certs.Source }

// loadCertificates reads the certificates that the options name.
func loadCertificates(opt *Options) (c certificates, err error) {
	if o := opt.TLS; o != (TLSOptions{}) {
		if o.Certificate == "" || o.Key == "" {
			return c, errors.New("TLS needs both a certificate and its key")
		}
		if o.Principals != "" && o.ClientCA == "" {
			return c, errors.New("a file of principals needs the authority of clients' certificates")
		}
		if c.http, err = certs.Load(certs.Files{Certificate: o.Certificate, Key: o.Key, ClientCA: o.ClientCA}); err != nil {
			return c, err
		}
	}
	c.dax = c.http
	if o := &opt.DAX; o.Certificate != "" {
		if c.dax, err = certs.Load(certs.Files{Certificate: o.Certificate, Key: o.Key}); err != nil {
			return c, fmt.Errorf("certificate of DAX: %w", err)
		}
	}
	return c, nil
}

// each calls f with every source.
func (c *certificates) each(f func(*certs.Source)) {
	if c.http != nil {
		f(c.http)
	}
	if c.dax != nil && c.dax != c.http {
		f(c.dax)
	}
}

// ofHTTP returns the settings of HTTPS, or nil for plain HTTP.
func (c *certificates) ofHTTP() *tls.Config {
	if c.http == nil {
		return nil
	}
	return c.http.HTTP()
}

// reloadCertificates reads all certificates again. Those that are invalid stay as they were; the errors are logged and returned.
func (s *Server) reloadCertificates() (err error) {
	s.certificates.each(func(source *certs.Source) {
		failed := source.Reload()
		s.logCertificate(true, failed)
		err = errors.Join(err, failed)
	})
	return err
}

// followCertificates starts the work that reloads certificates whose files have changed.
func (s *Server) followCertificates(ctx context.Context) {
	if s.principals != nil {
		s.goOn("reading principals", func() {
			jobs.Every(ctx, s.log, "reading principals", certificatesInterval, func() {
				_ = s.readPrincipals(s.principals) // it logs its errors
			})
		})
	}
	s.certificates.each(func(source *certs.Source) {
		s.goOn("reading certificates", func() {
			jobs.Every(ctx, s.log, "reading certificates", certificatesInterval, func() { s.logCertificate(source.Refresh()) })
		})
	})
}

// readPrincipals reads the file of principals of client certificates, if it has changed, and logs that.
func (s *Server) readPrincipals(file *auth.File) error {
	changed, err := file.Refresh(s.auth.UsePrincipals)
	switch {
	case err != nil:
		s.log.Error("cannot read the principals of client certificates; the current ones stay in force", "error", err)
	case changed:
		s.log.Info("read the principals of client certificates")
	}
	return err
}

// logCertificate logs the outcome of reading a certificate again.
func (s *Server) logCertificate(changed bool, err error) {
	switch {
	case err != nil:
		s.log.Error("cannot reload a TLS certificate; the current one stays in force", "error", err)
	case changed:
		s.log.Info("reloaded a TLS certificate")
	}
}
