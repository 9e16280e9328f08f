package client

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
)

// iamVersion is the version of IAM's API.
const iamVersion = "2010-05-08"

// IAM sends a request to IAM by the Query protocol, and decodes the result's elements into out, which has tags of encoding/xml and may be nil.
func (s *Server) IAM(ctx context.Context, action string, parameters url.Values, out any) error {
	form := url.Values{}
	maps.Copy(form, parameters)
	form.Set("Action", action)
	form.Set("Version", iamVersion)
	status, answer, err := s.send(ctx, "iam", []byte(form.Encode()), map[string]string{"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"})
	if err != nil {
		return err
	}
	if status == http.StatusOK {
		return result(answer, action+"Result", out)
	}
	var e struct {
		Error struct{ Code, Message string }
	}
	if err := xml.Unmarshal(answer, &e); err != nil || e.Error.Code == "" {
		return unreadable(status, answer)
	}
	return &Error{Status: status, Kind: e.Error.Code, Message: e.Error.Message}
}

// result decodes the element with the result of an answer. Answers without output have none.
func result(answer []byte, element string, out any) error {
	d := xml.NewDecoder(bytes.NewReader(answer))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) && out == nil {
			return nil
		}
		if err != nil {
			return err
		}
		if start, ok := token.(xml.StartElement); ok && start.Name.Local == element && out != nil {
			return d.DecodeElement(out, &start)
		}
	}
}
