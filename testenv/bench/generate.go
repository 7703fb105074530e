package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// tables are what projects on Supabase are full of, as far as compression and
// pg_dump are concerned: UUIDs everywhere, tokens, JSON, times, short texts of
// words as frequent as in a language, embeddings; and the indexes that such tables
// have. About 1 GB as a dump, of which
// %[1]d is the multiple.
const tables = `SELECT setseed(0.42);
CREATE TABLE users AS SELECT gen_random_uuid() AS id, 'user' || n || '@' || (ARRAY['example.com','mail.test','school.example','acme.example'])[1 + n %% 4] AS email,
 '$2a$10$' || translate(encode(decode(md5(random()::text) || md5(random()::text) || md5(random()::text), 'hex'), 'base64'), E'+/=\n', './') AS encrypted_password,
 now() - random() * interval '900 days' AS created_at,
 jsonb_build_object('provider', 'email', 'name', initcap(translate(left(md5(n::text), 7), '0123456789', 'aeioulmnrs')), 'locale', (ARRAY['en','de','fr','es'])[1 + n %% 4]) AS raw_user_meta_data
FROM generate_series(1, %[1]d * 500000) n;
CREATE TABLE sessions AS SELECT gen_random_uuid() AS id, u.id AS user_id, now() - random() * interval '90 days' AS created_at, now() - random() * interval '9 days' AS updated_at,
 NULL::uuid AS factor_id, 'aal1' AS aal, NULL::timestamptz AS not_after, now() - random() * interval '9 days' AS refreshed_at,
 (ARRAY['Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36','Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X)','okhttp/4.12.0','supabase-js/2.47'])[1 + (random() * 3)::int] AS user_agent,
 format('%%s.%%s.%%s.%%s', 10 + (random() * 200)::int, (random() * 250)::int, (random() * 250)::int, (random() * 250)::int) AS ip FROM users u;
CREATE TABLE orders AS SELECT gen_random_uuid() AS id, gen_random_uuid() AS customer_id, gen_random_uuid() AS product_id, 1 + n %% 5 AS quantity, round((random() * 200)::numeric, 2) AS price,
 (ARRAY['pending','paid','shipped','delivered','cancelled'])[1 + (random() * 4)::int] AS status, timestamptz '2025-01-01' + n * interval '7 seconds' AS created_at
FROM generate_series(1, %[1]d * 1000000) n;
CREATE TABLE audit AS SELECT gen_random_uuid() AS id, jsonb_build_object('action', (ARRAY['login','logout','token_refreshed','user_updated'])[1 + n %% 4], 'actor_id', gen_random_uuid(),
 'ip', format('%%s.%%s.%%s.%%s', 10 + n %% 200, n %% 251, n %% 253, n %% 241), 'path', '/rest/v1/' || (ARRAY['messages','rooms','profiles','orders'])[1 + n %% 4] || '?id=eq.' || n) AS payload,
 now() - random() * interval '900 days' AS created_at FROM generate_series(1, %[1]d * 500000) n;
CREATE TABLE messages AS WITH v AS MATERIALIZED (SELECT array_agg(translate(left(md5(x::text), 2 + x %% 9), '0123456789', 'ghijklmnop')) AS w FROM generate_series(1, 3000) x)
SELECT n AS id, gen_random_uuid() AS room_id, 1 + (random() * 499999)::int AS author, now() - random() * interval '900 days' AS sent_at,
 (SELECT string_agg(v.w[floor(power(3000, random()) + g * 0)::int], ' ') FROM generate_series(1, 6 + n %% 40) g) AS body FROM v, generate_series(1, %[1]d * 250000) n;
CREATE TABLE events AS SELECT n AS id, 1 + (random() * 499999)::int AS user_id, timestamptz '2025-01-01' + n * interval '3 seconds' AS at, jsonb_build_object(
 'type', (ARRAY['page_view','click','purchase','search'])[1 + n %% 4], 'session', md5((n / 20)::text), 'page', (ARRAY['/','/pricing','/docs/start','/account','/cart'])[1 + n %% 5],
 'device', jsonb_build_object('os', (ARRAY['ios','android','macos','windows'])[1 + n / 20 %% 4], 'width', 320 + n / 20 %% 12 * 160, 'lang', (ARRAY['en-US','de-DE','fr-FR'])[1 + n / 20 %% 3]), 'value', n %% 1000) AS properties
FROM generate_series(1, %[1]d * 900000) n;
CREATE TABLE documents AS SELECT gen_random_uuid() AS id, gen_random_uuid() AS owner, 'chunk ' || d AS title,
 (SELECT array_agg(((random() + random() + random() - 1.5 + g * 0) / 9)::real) FROM generate_series(1, 384) g WHERE d > 0) AS embedding FROM generate_series(1, %[1]d * 25000) d;
CREATE TABLE objects AS SELECT gen_random_uuid() AS id, (ARRAY['avatars','documents','public'])[1 + n %% 3] AS bucket_id,
 gen_random_uuid() || '/' || n || (ARRAY['.png','.jpg','.pdf'])[1 + n %% 3] AS name, gen_random_uuid() AS owner, now() - random() * interval '300 days' AS created_at, gen_random_uuid() AS version,
 jsonb_build_object('eTag', '"' || md5(random()::text) || '"', 'size', (random() * 500000)::int, 'mimetype', (ARRAY['image/png','image/jpeg','application/pdf'])[1 + n %% 3], 'cacheControl', 'max-age=3600',
 'lastModified', to_char(now() - random() * interval '300 days', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), 'httpStatusCode', 200) AS metadata FROM generate_series(1, %[1]d * 200000) n;
ALTER TABLE users ADD PRIMARY KEY (id); CREATE UNIQUE INDEX ON users (email); CREATE INDEX ON users (created_at); CREATE INDEX ON users USING gin (raw_user_meta_data);
ALTER TABLE sessions ADD PRIMARY KEY (id); ALTER TABLE sessions ADD FOREIGN KEY (user_id) REFERENCES users ON DELETE CASCADE; CREATE INDEX ON sessions (user_id, created_at); CREATE INDEX ON sessions (not_after DESC);
ALTER TABLE orders ADD PRIMARY KEY (id); CREATE INDEX ON orders (customer_id, created_at); CREATE INDEX ON orders (product_id); CREATE INDEX ON orders (status) WHERE status <> 'delivered';
ALTER TABLE audit ADD PRIMARY KEY (id); CREATE INDEX ON audit (created_at); CREATE INDEX ON audit ((payload ->> 'actor_id'));
ALTER TABLE messages ADD PRIMARY KEY (id); CREATE INDEX ON messages (room_id, sent_at); CREATE INDEX ON messages (author); CREATE INDEX ON messages USING gin (to_tsvector('english', body));
ALTER TABLE events ADD PRIMARY KEY (id); CREATE INDEX ON events (user_id, at); CREATE INDEX ON events USING gin (properties jsonb_path_ops);
ALTER TABLE documents ADD PRIMARY KEY (id); CREATE INDEX ON documents (owner);
ALTER TABLE objects ADD PRIMARY KEY (id); CREATE UNIQUE INDEX ON objects (bucket_id, name); CREATE INDEX ON objects (name text_pattern_ops);
ANALYZE`

// filesPerScale is how many files of 23 kB there are, a third of them text.
const filesPerScale = 100_000

// generate makes what the tables need; only is the one that is wanted, or "".
func (b *bench) generate(ctx context.Context, only string) error {
	if only == "" || only == "database" || only == "restore" {
		if err := b.pg.Exec(ctx, "postgres", fmt.Sprintf(tables, b.scale)); err != nil {
			return err
		}
	}
	if only == "database" || only == "restore" {
		return nil
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range b.scale * filesPerScale {
		dir := filepath.Join(b.dir, "files", fmt.Sprint(i%500))
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return err
		}
		data := bytes.Repeat([]byte("the quick brown fox "), 1150)
		if i%3 != 0 {
			for k := range data {
				data[k] = byte(rnd.Uint32())
			}
		}
		name := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(name, data, 0o600); err != nil {
			return err
		}
		if err := errors.Join(unix.Setxattr(name, "user.supabase.content-type", []byte("image/png"), 0), unix.Setxattr(name, "user.supabase.cache-control", []byte("no-cache"), 0)); err != nil {
			return err
		}
	}
	return nil
}
