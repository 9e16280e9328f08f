package attribute

import (
	"bytes"
	"cmp"
	"math"
	"math/big"

	"github.com/cockroachdb/apd/v3"
)

// Bounds of numbers ("Supported data types and naming rules in Amazon DynamoDB").
const (
	// MaxDigits is the largest number of significant decimal digits.
	MaxDigits = 38
	// MaxExponent is the exponent of the largest magnitude, 9.99E+125.
	MaxExponent = 125
	// MinExponent is the exponent of the smallest non-zero magnitude, 1E-130.
	MinExponent = -130
)

// AWS's sentences for numbers that can't be stored.
const (
	msgNotANumber = "The parameter cannot be converted to a numeric value"
	msgPrecision  = "Attempting to store more than 38 significant digits in a Number"
	msgOverflow   = "Number overflow. Attempting to store a number with magnitude larger than supported range"
	msgUnderflow  = "Number underflow. Attempting to store a number with magnitude smaller than supported range"
)

// decimal is a number in parts: 0.d1d2d3… times 10^exp. No digits means zero.
type decimal struct {
	neg    bool
	digits []byte // ASCII, no leading or trailing zero
	exp    int    // position of the decimal point, relative to the first digit
}

// AppendNumber appends the canonical text of a decimal number. If DynamoDB can't store the number, problem is AWS's sentence, and dst is
// returned unchanged.
func AppendNumber(dst, text []byte) (out []byte, problem string) {
	if isPlainInteger(text) {
		return append(dst, text...), ""
	}
	var buf [64]byte
	d, problem := parseDecimal(buf[:0], text)
	if problem != "" {
		return dst, problem
	}
	return d.append(dst), ""
}

// AppendNumberOlder is AppendNumber with the sentence of AWS's older layer of validation (see [Value.InvalidOlder]).
func AppendNumberOlder(dst, text []byte) (out []byte, problem string) {
	if out, problem = AppendNumber(dst, text); problem == "" {
		return out, ""
	}
	p := numberProblem(text, problem)
	return dst, cmp.Or(p.older, p.text)
}

// isPlainInteger recognizes the common case of an integer that is already canonical.
func isPlainInteger(t []byte) bool {
	if len(t) > 0 && t[0] == '-' {
		t = t[1:]
		if len(t) == 1 && t[0] == '0' {
			return false
		}
	}
	if len(t) == 0 || len(t) > MaxDigits || (t[0] == '0' && len(t) > 1) {
		return false
	}
	for _, c := range t {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// notANumber is AWS's sentence for a text that is no number.
func notANumber(text []byte) string { return msgNotANumber + ": " + string(text) }

// parseDecimal parses a number without allocating: the digits go to buf, whose capacity must exceed MaxDigits.
func parseDecimal(buf, text []byte) (d decimal, problem string) {
	i := 0
	if i < len(text) && (text[i] == '-' || text[i] == '+') {
		d.neg = text[i] == '-'
		i++
	}
	d.digits = buf
	seenDigit, seenPoint := false, false
	point := 0    // number of digits before the point, without leading zeros; negative for zeros behind the point
	fraction := 0 // number of digits behind the point
	tooLong := false
	for ; i < len(text); i++ {
		c := text[i]
		if c == '.' && !seenPoint {
			seenPoint = true
			continue
		}
		if c < '0' || c > '9' {
			break
		}
		seenDigit = true
		if seenPoint {
			fraction++
		}
		if len(d.digits) == 0 && c == '0' { // a leading zero at most moves the point
			if seenPoint {
				point--
			}
			continue
		}
		if !seenPoint {
			point++
		}
		// Digits that don't fit into buf are dropped. A dropped zero changes nothing; any other digit makes the number too precise.
		if len(d.digits) < cap(buf) {
			d.digits = append(d.digits, c)
		} else if c != '0' {
			tooLong = true
		}
	}
	if !seenDigit {
		return d, notANumber(text)
	}
	exp, ok := parseExponent(text[i:])
	if !ok {
		return d, notANumber(text)
	}
	for len(d.digits) > 0 && d.digits[len(d.digits)-1] == '0' {
		d.digits = d.digits[:len(d.digits)-1]
	}
	if len(d.digits) == 0 {
		// Zero must be in range too: its exponent is that of its last digit.
		switch e := exp - fraction; {
		case e > MaxExponent:
			return d, msgOverflow
		case e < MinExponent:
			return d, msgUnderflow
		}
		return decimal{}, ""
	}
	// The value is 0.digits * 10^d.exp, so its scientific exponent is d.exp-1.
	d.exp = point + exp
	switch {
	case d.exp-1 > MaxExponent:
		return d, msgOverflow
	case d.exp-1 < MinExponent:
		return d, msgUnderflow
	case tooLong || len(d.digits) > MaxDigits:
		return d, msgPrecision
	}
	return d, ""
}

// parseExponent parses what follows a number's digits: nothing, or an exponent of 64 bits.
func parseExponent(text []byte) (exp int, ok bool) {
	if len(text) == 0 {
		return 0, true
	}
	if text[0] != 'e' && text[0] != 'E' {
		return 0, false
	}
	text = text[1:]
	neg := len(text) > 0 && text[0] == '-'
	if neg || len(text) > 0 && text[0] == '+' {
		text = text[1:]
	}
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		if exp < math.MinInt64/10 || exp*10 < math.MinInt64+int(c-'0') {
			return 0, false
		}
		exp = exp*10 - int(c-'0') // negative, because there is one negative number more
	}
	if !neg && exp == math.MinInt64 {
		return 0, false
	}
	exp = max(exp, -farExponent)
	if !neg {
		exp = -exp
	}
	return exp, len(text) > 0
}

// farExponent is beyond what any digits can bring back into the bounds, and far from overflow.
const farExponent = 1 << 40

// numberProblem returns the problem of a text that AppendNumber refuses with a sentence. AWS's older layer reads numbers like Java's
// BigDecimal: an exponent or scale of more than 32 bits makes it no number, and the magnitude may overflow.
func numberProblem(text []byte, sentence string) problem {
	if len(text) == 0 {
		return problem{sentence, msgNotANumber}
	}
	p := problem{text: sentence}
	if sentence != msgOverflow && sentence != msgUnderflow {
		return p
	}
	mantissa, exponent := text, []byte(nil)
	if i := bytes.IndexAny(text, "eE"); i >= 0 {
		mantissa, exponent = text[:i], text[i:]
	}
	exp, _ := parseExponent(exponent)
	digits := bytes.TrimLeft(mantissa, "+-")
	scale := -exp
	if i := bytes.IndexByte(digits, '.'); i >= 0 {
		scale += len(digits) - i - 1
	}
	precision := max(1, len(bytes.TrimLeft(bytes.ReplaceAll(digits, []byte("."), nil), "0")))
	switch {
	case exp != int(int32(exp)) || scale != int(int32(scale)):
		p.older = notANumber(text)
	case int32(precision)-int32(scale) > 0: // wraps as in Java
		p.older = msgOverflow
	default:
		p.older = msgUnderflow
	}
	return p
}

// append appends the canonical text: no exponent, no superfluous zeros.
func (d decimal) append(dst []byte) []byte {
	if len(d.digits) == 0 {
		return append(dst, '0')
	}
	if d.neg {
		dst = append(dst, '-')
	}
	switch {
	case d.exp <= 0:
		dst = append(dst, '0', '.')
		for i := d.exp; i < 0; i++ {
			dst = append(dst, '0')
		}
		return append(dst, d.digits...)
	case d.exp >= len(d.digits):
		dst = append(dst, d.digits...)
		for i := len(d.digits); i < d.exp; i++ {
			dst = append(dst, '0')
		}
		return dst
	}
	dst = append(dst, d.digits[:d.exp]...)
	dst = append(dst, '.')
	return append(dst, d.digits[d.exp:]...)
}

// splitNumber splits canonical text without allocating. The digits are copied to buf, since a point may be among them.
func splitNumber(buf, text []byte) decimal {
	var d decimal
	if text[0] == '-' {
		d.neg = true
		text = text[1:]
	}
	point := bytes.IndexByte(text, '.')
	d.digits = buf[:0]
	if point < 0 {
		d.exp = len(text)
		d.digits = append(d.digits, text...)
	} else {
		d.exp = point
		d.digits = append(d.digits, text[:point]...)
		d.digits = append(d.digits, text[point+1:]...)
	}
	lead := 0
	for lead < len(d.digits) && d.digits[lead] == '0' {
		lead++
	}
	d.digits = d.digits[lead:]
	d.exp -= lead
	for len(d.digits) > 0 && d.digits[len(d.digits)-1] == '0' {
		d.digits = d.digits[:len(d.digits)-1]
	}
	if len(d.digits) == 0 {
		d.exp = 0
	}
	return d
}

// maxText is the longest canonical text: sign, "0.", 130 zeros and 38 digits.
const maxText = 176

// CompareNumbers compares two canonical numbers by value: -1, 0 or 1.
func CompareNumbers(a, b []byte) int {
	if bytes.Equal(a, b) {
		return 0
	}
	var ab, bb [maxText]byte
	x, y := splitNumber(ab[:], a), splitNumber(bb[:], b)
	if sx, sy := x.sign(), y.sign(); sx != sy {
		if sx < sy {
			return -1
		}
		return 1
	}
	c := 0
	switch {
	case x.exp < y.exp:
		c = -1
	case x.exp > y.exp:
		c = 1
	default:
		c = bytes.Compare(x.digits, y.digits)
	}
	if x.neg {
		return -c
	}
	return c
}

// sign returns -1, 0 or 1.
func (d decimal) sign() int {
	switch {
	case len(d.digits) == 0:
		return 0
	case d.neg:
		return -1
	}
	return 1
}

// NumberSize returns the size in bytes of a canonical number: one byte, one more per two significant digits, and one more if it is
// negative ("DynamoDB item sizes and formats"). Pairs of digits are counted from the decimal point.
func NumberSize(text []byte) int {
	var buf [maxText]byte
	d := splitNumber(buf[:], text)
	if len(d.digits) == 0 {
		return 1
	}
	n := len(d.digits)
	if d.exp&1 != 0 { // the first pair has one digit only
		n++
	}
	size := (n+1)/2 + 1
	if d.neg {
		size++
	}
	return size
}

// AppendNumberKey appends a form of a canonical number whose byte order is the numeric order, and that is never a prefix of another
// number's. Zero is 0x80, positive numbers are as drawn, and negative ones are the complement of that:
//
//	sign and exponent (2) | digit pairs, each +1 | 0x00
func AppendNumberKey(dst, text []byte) []byte {
	var buf [maxText]byte
	d := splitNumber(buf[:], text)
	if len(d.digits) == 0 {
		return append(dst, 0x80)
	}
	start := len(dst)
	e := d.exp + 0x4000 // exponents are within -129…126
	dst = append(dst, 0x81+byte(e>>8)&0x7f, byte(e))
	for i := 0; i < len(d.digits); i += 2 {
		p := (d.digits[i] - '0') * 10
		if i+1 < len(d.digits) {
			p += d.digits[i+1] - '0'
		}
		dst = append(dst, p+1)
	}
	dst = append(dst, 0)
	if d.neg {
		for i := start; i < len(dst); i++ {
			dst[i] = ^dst[i]
		}
	}
	return dst
}

// arithmetic can hold any sum of two storable numbers exactly: 126 digits before the point and 130+38 behind it.
var arithmetic = func() *apd.Context {
	c := apd.BaseContext.WithPrecision(400)
	c.MaxExponent, c.MinExponent = 1000, -1000
	return c
}()

// AddNumbers appends the canonical text of a+b, or of a-b if subtract is true. problem is AWS's sentence if the result can't be stored: it
// calls a result of too many digits an overflow.
func AddNumbers(dst, a, b []byte, subtract bool) (out []byte, problem string) {
	if len(a) < 18 && len(b) < 18 {
		x, okx := smallInt(a)
		y, oky := smallInt(b)
		if okx && oky {
			if subtract {
				y = -y
			}
			return big.NewInt(x+y).Append(dst, 10), ""
		}
	}
	var x, y, z apd.Decimal
	if _, _, err := x.SetString(string(a)); err != nil {
		return dst, msgNotANumber
	}
	if _, _, err := y.SetString(string(b)); err != nil {
		return dst, msgNotANumber
	}
	op := arithmetic.Add
	if subtract {
		op = arithmetic.Sub
	}
	if _, err := op(&z, &x, &y); err != nil {
		return dst, msgOverflow
	}
	if z.IsZero() {
		return append(dst, '0'), ""
	}
	out, problem = AppendNumber(dst, []byte(z.Text('E')))
	if problem == msgPrecision {
		problem = msgOverflow
	}
	return out, problem
}

// smallInt parses an integer of at most 17 characters. ok is false for fractions.
func smallInt(t []byte) (int64, bool) {
	neg := false
	if len(t) > 0 && t[0] == '-' {
		neg = true
		t = t[1:]
	}
	var v int64
	for _, c := range t {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = v*10 + int64(c-'0')
	}
	if neg {
		v = -v
	}
	return v, true
}
