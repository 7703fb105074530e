package project

import (
	"context"
	"encoding/json"

	"github.com/jackc/pgx/v5"
)

// vaultSecret is a secret of Supabase's vault, without its value.
type vaultSecret struct {
	Name     string `json:"name"`
	Decrypts bool   `json:"decrypts"` // with the root key that the server has
	id       string
}

// vault lists the secrets of the vault, and tries to decrypt each of them.
func (f *fingerprint) vault(ctx context.Context, s *Session) error {
	there, err := s.has(ctx, "vault.secrets")
	if err != nil || !there {
		return err
	}
	list := []vaultSecret{}
	err = s.tentatively(ctx, func() error {
		rows, err := s.tx.Query(ctx, "SELECT coalesce(name, id::text), id::text FROM vault.secrets ORDER BY 1, 2")
		if err != nil {
			return err
		}
		var secret vaultSecret
		_, err = pgx.ForEachRow(rows, []any{&secret.Name, &secret.id}, func() error {
			list = append(list, secret)
			return nil
		})
		return err
	})
	if isCode(err, insufficientRight) {
		return nil
	}
	if err != nil {
		return err
	}
	for i, secret := range list {
		err := s.tentatively(ctx, func() error {
			return s.tx.QueryRow(ctx, "SELECT decrypted_secret IS NOT NULL FROM vault.decrypted_secrets WHERE id::text = $1", secret.id).Scan(&list[i].Decrypts)
		})
		if err != nil && s.conn.IsClosed() {
			return err
		}
	}
	f.Objects["vault_secrets"], err = json.Marshal(list)
	return err
}
