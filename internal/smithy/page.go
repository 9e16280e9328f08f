package smithy

import (
	"encoding/base64"
	"slices"
	"strings"
)

// After returns the elements of a list, sorted by name, whose names sort after a name; all of them if it is not set.
func After[T any](sorted []T, after Opt[string], name func(T) string) []T {
	if !after.Set {
		return sorted
	}
	i, found := slices.BinarySearchFunc(sorted, after.Value, func(v T, after string) int { return strings.Compare(name(v), after) })
	if found {
		i++
	}
	return sorted[i:]
}

// Page returns up to limit elements of a list, at least 1, and the name of the last one if there are more: the next page begins after
// it.
func Page[T any](list []T, limit int64, name func(T) string) (page []T, last Opt[string]) {
	limit = max(limit, 1)
	if int64(len(list)) <= limit {
		return list, last
	}
	return list[:limit], Some(name(list[limit-1]))
}

// EncodeToken encodes the place at which a list continues, for members such as NextToken.
func EncodeToken(place string) string { return base64.StdEncoding.EncodeToString([]byte(place)) }

// DecodeToken decodes what EncodeToken has returned. An error means that the client made the token up.
func DecodeToken(token string) (place string, err error) {
	raw, err := base64.StdEncoding.DecodeString(token)
	return string(raw), err
}
