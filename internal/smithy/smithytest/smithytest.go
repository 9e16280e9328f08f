// Package smithytest calls operations in tests without HTTP, and keeps long texts out of test data.
package smithytest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/statordb/stator/internal/smithy"
)

// Do calls an operation, by its name without its API's, as a caller. in is encoded as JSON; out, unless nil, receives the decoded answer.
// The error is the operation's.
func Do(ctx context.Context, handlers []smithy.Handler, caller smithy.Caller, operation string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	for _, h := range handlers {
		if !strings.HasSuffix(h.Target, "."+operation) {
			continue
		}
		call := &smithy.Call{Caller: caller}
		defer call.Release()
		input, refused := h.Decode(call, body)
		if refused != nil {
			return refused
		}
		answer, err := h.Run(ctx, call, input)
		if err != nil || out == nil {
			return err
		}
		rendered := answer.AppendJSON(nil)
		if len(rendered) == 0 { // the operation has no output
			return nil
		}
		return json.Unmarshal(rendered, out)
	}
	return fmt.Errorf("there is no operation %s", operation)
}
