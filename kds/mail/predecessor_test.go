package mail_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/coffer-fs/coffer/kds/mail"
)

// The predecessor's topics: 1 to 255 letters, digits and '-'.
func TestTopics(t *testing.T) {
	sk := pair(t, 1)
	for topic, good := range map[string]bool{
		"a": true, "-": true, "0": true, "Orders-2": true, strings.Repeat("x", 255): true, strings.Repeat("x", 256): false,
		"a b": false, "a_b": false, "a.b": false, "a/b": false, "é": false, "a\x00": false, "a\n": false,
	} {
		o, w := office(t, sk), bytes.Buffer{}
		o.Topic = topic
		_, err := o.Post(&w, strings.NewReader(""), mail.Options{})
		if !good {
			wants(t, topic, err, mail.ErrTopic, "")
			continue
		}
		must(t, err)
		if l := open(t, w.Bytes(), one{sk}); l.Topic != topic {
			t.Errorf("topic %q came as %q", topic, l.Topic)
		}
	}
}

// The predecessor's sequence numbers: from 0, one more for each letter of a post
// office. To keys of a KDS nobody looks at them: a gap, a repetition and a
// number that is behind open as any other.
func TestSequence(t *testing.T) {
	sk := pair(t, 1)
	o := office(t, sk)
	var letters [][]byte
	for want := range uint64(4) {
		letters = append(letters, post(t, o, "", mail.Options{}))
		h, err := mail.ReadHeader(bytes.NewReader(letters[want]))
		must(t, err)
		if h.Sequence != want {
			t.Errorf("letter %d has number %d", want, h.Sequence)
		}
	}
	for _, i := range []uint64{3, 3, 1, 0, 2, 0} {
		if l := open(t, letters[i], one{sk}); l.Sequence != i {
			t.Errorf("letter %d came as %d", i, l.Sequence)
		}
	}
}

// The predecessor's replies: number 0 and no private header each time, about the
// letter's topic.
func TestReplyHeader(t *testing.T) {
	sk := pair(t, 1)
	o := office(t, sk)
	o.Topic = "orders"
	post(t, o, "", mail.Options{})
	l := open(t, post(t, o, "", mail.Options{PrivateHeader: []byte("private")}), one{sk})
	for range 2 {
		var w bytes.Buffer
		must(t, l.Reply(&w, strings.NewReader("answer"), mail.ReplyOptions{}))
		r, err := mail.OpenReply(&w, o.From, o.Key)
		must(t, err)
		if r.Sequence != 0 || r.Topic != "orders" || l.Sequence != 1 || readAll(t, r.Body) != "answer" {
			t.Errorf("reply is %+v to %+v", r.Header, l.Header)
		}
	}
}

// The predecessor's senders: one that is not given is another each time.
func TestSenders(t *testing.T) {
	sk := pair(t, 1)
	a, b := office(t, sk), office(t, sk)
	first, again, other := open(t, post(t, a, "", mail.Options{}), one{sk}), open(t, post(t, a, "", mail.Options{}), one{sk}), open(t, post(t, b, "", mail.Options{}), one{sk})
	if !first.Sender.Equal(again.Sender) || first.Sender.Equal(other.Sender) {
		t.Errorf("senders are %x, %x and %x", first.Sender, again.Sender, other.Sender)
	}
}

// What the document says to be tested is.
func TestDocumentNamesTests(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "protocol.md"))
	must(t, err)
	_, section, _ := strings.Cut(string(doc), "\n### Beside the predecessor\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var code bytes.Buffer
	for _, dir := range []string{".", "..", "../kdstest"} {
		files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
		must(t, err)
		for _, f := range files {
			b, err := os.ReadFile(f)
			must(t, err)
			code.Write(b)
		}
	}
	named := regexp.MustCompile("`(Test[A-Za-z0-9_]+)`").FindAllStringSubmatch(section, -1)
	if len(named) < 10 {
		t.Errorf("docs/protocol.md names %d tests beside the predecessor", len(named))
	}
	for _, n := range named {
		if !bytes.Contains(code.Bytes(), []byte("func "+n[1]+"(")) {
			t.Errorf("docs/protocol.md names %s, which is not there", n[1])
		}
	}
}
