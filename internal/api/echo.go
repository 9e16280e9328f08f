package api

import (
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/wirejson"
)

// jsonOfBatchGetRequestMap appends the map as JSON, as AWS prints it in errors. Like attribute.MaxJava, a bound keeps answers small.
func jsonOfBatchGetRequestMap(b []byte, m smithy.Map[KeysAndAttributes]) []byte {
	b = append(b, '{')
	size := 0
	for i := range m {
		for _, key := range m[i].Value.Keys {
			size += len(key)
		}
		if size > attribute.MaxJava {
			break
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = append(wirejson.AppendString(b, m[i].Key), ':')
		b = m[i].Value.AppendJSON(b)
	}
	return append(b, '}')
}
