// Package client sends requests of Stator's own commands to a server, over DynamoDB's public protocol.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/statordb/stator/internal/auth"
)

// Server is an endpoint, with the credentials for requests to it.
type Server struct {
	Endpoint             string // e.g. http://127.0.0.1:8000
	Region               string
	AccessKey, SecretKey string
}

// Error is an error returned by the server.
type Error struct {
	Status        int
	Kind, Message string
}

// Error implements error.
func (e *Error) Error() string { return e.Kind + ": " + e.Message }

// Call sends a request and decodes the answer into out. target is the value of X-Amz-Target.
func (s *Server) Call(ctx context.Context, target string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	at, err := url.Parse(s.Endpoint)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, "POST", at.String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	// The signature covers the host, which net/http sends by itself.
	headers := map[string]string{"content-type": "application/x-amz-json-1.0", "host": at.Host, "x-amz-target": target}
	auth.Sign(headers, at.Path, body, auth.SigningKey{AccessKey: s.AccessKey, Secret: s.SecretKey, Region: s.Region, Service: "dynamodb"}, time.Now())
	for k, v := range headers {
		if k != "host" {
			req.Header.Set(k, v)
		}
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode == http.StatusOK {
		return json.Unmarshal(answer, out)
	}
	var e struct {
		Type    string `json:"__type"`
		Message string
	}
	if err := json.Unmarshal(answer, &e); err != nil {
		return fmt.Errorf("status %d: %q", res.StatusCode, answer)
	}
	// The type is namespace#name, or the name alone.
	_, kind, ok := strings.Cut(e.Type, "#")
	if !ok {
		kind = e.Type
	}
	return &Error{Status: res.StatusCode, Kind: kind, Message: e.Message}
}
