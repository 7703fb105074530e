package bus

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/holdfast-dev/holdfast/internal/fault"
)

// An answer that does not fit into one message is sent in several, to whoever says that
// it takes them. Each names the answer it belongs to, since several may answer at once,
// its number and how many there are.
const (
	takesParts = "holdfast-takes-parts" // header of a query
	partHeader = "holdfast-part"        // of an answer: <id of the answer>/<number, from 0>/<how many>
)

const (
	partSize   = 256 << 10 // below what any NATS server takes as one message
	wholeBelow = 768 << 10 // what is sent as one message if the server takes that
	maxAnswer  = 64 << 20  // in all
)

// send sends an answer.
func (q *Queries) send(r micro.Request, data []byte) error {
	if len(data) < min(wholeBelow, int(q.b.nc.MaxPayload())) || r.Headers().Get(takesParts) == "" {
		return r.Respond(data)
	}
	if len(data) > maxAnswer {
		q.b.log.Error("an answer is too large", fields(map[string]any{"subject": r.Subject(), "bytes": len(data)})...)
		return r.Error(string(fault.Internal), "The answer is too large; ask for less", nil)
	}
	id, n := nats.NewInbox(), (len(data)+partSize-1)/partSize
	for i := range n {
		h := micro.Headers{partHeader: {strings.Join([]string{id, strconv.Itoa(i), strconv.Itoa(n)}, "/")}}
		if err := r.Respond(data[i*partSize:min((i+1)*partSize, len(data))], micro.WithHeaders(h)); err != nil {
			return err
		}
	}
	return nil
}

// request sends a query and returns the first answer, whole.
func (b *Bus) request(ctx context.Context, subject string, data []byte) (*nats.Msg, error) {
	sub, err := b.nc.SubscribeSync(b.nc.NewRespInbox())
	if err != nil {
		return nil, err
	}
	defer sub.Unsubscribe() //nolint:errcheck // nobody waits for it any more
	q := &nats.Msg{Subject: subject, Reply: sub.Subject, Data: data, Header: nats.Header{takesParts: {"1"}}}
	if err := b.nc.PublishMsg(q); err != nil {
		return nil, err
	}
	var whole answerParts
	for {
		m, err := sub.NextMsgWithContext(ctx)
		switch {
		case err != nil:
			return nil, err
		case len(m.Data) == 0 && m.Header.Get("Status") == "503":
			return nil, nats.ErrNoResponders
		case m.Header.Get(partHeader) == "" && whole.id == "":
			return m, nil
		}
		if done, err := whole.add(m); done || err != nil {
			return whole.msg, err
		}
	}
}

// answerParts puts the messages of one answer together.
type answerParts struct {
	id   string
	next int
	msg  *nats.Msg
}

var errParts = errors.New("bus: the parts of an answer do not follow one another")

// add takes a message and reports whether the answer is whole. Messages of other
// answers are left out.
func (p *answerParts) add(m *nats.Msg) (done bool, err error) {
	f := strings.Split(m.Header.Get(partHeader), "/")
	if len(f) != 3 || p.id != "" && f[0] != p.id {
		return false, nil
	}
	i, err1 := strconv.Atoi(f[1])
	n, err2 := strconv.Atoi(f[2])
	if p.msg == nil {
		p.id, p.msg = f[0], &nats.Msg{Header: nats.Header{}}
	}
	if err1 != nil || err2 != nil || i != p.next || len(p.msg.Data)+len(m.Data) > maxAnswer {
		return false, errParts
	}
	p.next++
	p.msg.Data = append(p.msg.Data, m.Data...)
	return p.next == n, nil
}

// encode makes an answer: bytes as they are, anything else as JSON.
func encode(answer any) ([]byte, error) {
	if raw, ok := answer.([]byte); ok {
		return raw, nil
	}
	return json.Marshal(answer)
}
