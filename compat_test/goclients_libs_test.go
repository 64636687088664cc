package compat_test

import (
	"context"
	"errors"
	"strconv"
	"time"

	redis8 "github.com/go-redis/redis/v8"
	"github.com/gomodule/redigo/redis"
	redis9 "github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/sessiond/sessiond/compat_test/proc"
)

// goRedis9 drives go-redis v9.
type goRedis9 struct{ *redis9.Client }

func openGoRedis9(protocol int) func(string, login) (goClient, error) {
	return func(addr string, l login) (goClient, error) {
		return goRedis9{redis9.NewClient(&redis9.Options{
			Addr: addr, Protocol: protocol, Username: l.username, Password: l.password,
			DB: l.db, ClientName: l.name, MaxRetries: -1,
		})}, nil
	}
}

func found9(v string, err error) (string, bool, error) {
	if errors.Is(err, redis9.Nil) {
		return v, false, nil
	}
	return v, err == nil, err
}

func (c goRedis9) Set(key, value string, ttl time.Duration) error {
	ctx, cancel := patient()
	defer cancel()
	return c.Client.Set(ctx, key, value, ttl).Err()
}

func (c goRedis9) SetNX(key, value string, ttl time.Duration) (bool, error) {
	ctx, cancel := patient()
	defer cancel()
	return c.Client.SetNX(ctx, key, value, ttl).Result()
}

func (c goRedis9) Get(key string) (string, bool, error) {
	ctx, cancel := patient()
	defer cancel()
	return found9(c.Client.Get(ctx, key).Result())
}

func (c goRedis9) GetEx(key string, ttl time.Duration) (string, bool, error) {
	ctx, cancel := patient()
	defer cancel()
	return found9(c.Client.GetEx(ctx, key, ttl).Result())
}

func (c goRedis9) MGet(keys ...string) ([]*string, error) {
	ctx, cancel := patient()
	defer cancel()
	values, err := c.Client.MGet(ctx, keys...).Result()
	return orNil(values), err
}

func (c goRedis9) Expire(key string, ttl time.Duration) (bool, error) {
	ctx, cancel := patient()
	defer cancel()
	return c.Client.Expire(ctx, key, ttl).Result()
}

func (c goRedis9) TTL(key string) (int64, error) {
	ctx, cancel := patient()
	defer cancel()
	d, err := c.Client.PTTL(ctx, key).Result()
	return milliseconds(d), err
}

func (c goRedis9) Del(keys ...string) (int64, error) {
	ctx, cancel := patient()
	defer cancel()
	return c.Client.Del(ctx, keys...).Result()
}

func (c goRedis9) Scan(match string) (keys []string, err error) {
	ctx, cancel := patient()
	defer cancel()
	it := c.Client.Scan(ctx, 0, match, 0).Iterator()
	for it.Next(ctx) {
		keys = append(keys, it.Val())
	}
	return keys, it.Err()
}

func (c goRedis9) Pipeline(keys, values []string) ([]string, error) {
	ctx, cancel := patient()
	defer cancel()
	var reads []*redis9.StringCmd
	_, err := c.Pipelined(ctx, func(p redis9.Pipeliner) error {
		for i, k := range keys {
			p.Set(ctx, k, values[i], 0)
			reads = append(reads, p.Get(ctx, k))
		}
		return nil
	})
	var got []string
	for _, r := range reads {
		got = append(got, r.Val())
	}
	return got, err
}

func (c goRedis9) Transaction(key, value, counter string) (int64, error) {
	ctx, cancel := patient()
	defer cancel()
	var n *redis9.IntCmd
	_, err := c.TxPipelined(ctx, func(p redis9.Pipeliner) error {
		p.Set(ctx, key, value, time.Minute)
		n = p.Incr(ctx, counter)
		return nil
	})
	return n.Val(), err
}

func (c goRedis9) Increment(counter string) (bool, error) {
	ctx, cancel := patient()
	defer cancel()
	err := c.Watch(ctx, func(tx *redis9.Tx) error {
		n, err := tx.Get(ctx, counter).Int()
		if err != nil && !errors.Is(err, redis9.Nil) {
			return err
		}
		_, err = tx.TxPipelined(ctx, func(p redis9.Pipeliner) error {
			p.Set(ctx, counter, n+1, 0)
			return nil
		})
		return err
	}, counter)
	if errors.Is(err, redis9.TxFailedErr) {
		return false, nil
	}
	return err == nil, err
}

func (c goRedis9) Name() (string, error) {
	ctx, cancel := patient()
	defer cancel()
	return c.ClientGetName(ctx).Result()
}

// goRedis8 drives go-redis v8.
type goRedis8 struct{ *redis8.Client }

func openGoRedis8(addr string, l login) (goClient, error) {
	return goRedis8{redis8.NewClient(&redis8.Options{
		Addr: addr, Username: l.username, Password: l.password, DB: l.db, MaxRetries: -1,
		OnConnect: func(ctx context.Context, cn *redis8.Conn) error {
			if l.name == "" {
				return nil
			}
			return cn.ClientSetName(ctx, l.name).Err()
		},
	})}, nil
}

func found8(v string, err error) (string, bool, error) {
	if errors.Is(err, redis8.Nil) {
		return v, false, nil
	}
	return v, err == nil, err
}

func (c goRedis8) Set(key, value string, ttl time.Duration) error {
	ctx, cancel := patient()
	defer cancel()
	return c.Client.Set(ctx, key, value, ttl).Err()
}

func (c goRedis8) SetNX(key, value string, ttl time.Duration) (bool, error) {
	ctx, cancel := patient()
	defer cancel()
	return c.Client.SetNX(ctx, key, value, ttl).Result()
}

func (c goRedis8) Get(key string) (string, bool, error) {
	ctx, cancel := patient()
	defer cancel()
	return found8(c.Client.Get(ctx, key).Result())
}

func (c goRedis8) GetEx(key string, ttl time.Duration) (string, bool, error) {
	ctx, cancel := patient()
	defer cancel()
	return found8(c.Client.GetEx(ctx, key, ttl).Result())
}

func (c goRedis8) MGet(keys ...string) ([]*string, error) {
	ctx, cancel := patient()
	defer cancel()
	values, err := c.Client.MGet(ctx, keys...).Result()
	return orNil(values), err
}

func (c goRedis8) Expire(key string, ttl time.Duration) (bool, error) {
	ctx, cancel := patient()
	defer cancel()
	return c.Client.Expire(ctx, key, ttl).Result()
}

func (c goRedis8) TTL(key string) (int64, error) {
	ctx, cancel := patient()
	defer cancel()
	d, err := c.Client.PTTL(ctx, key).Result()
	return milliseconds(d), err
}

func (c goRedis8) Del(keys ...string) (int64, error) {
	ctx, cancel := patient()
	defer cancel()
	return c.Client.Del(ctx, keys...).Result()
}

func (c goRedis8) Scan(match string) (keys []string, err error) {
	ctx, cancel := patient()
	defer cancel()
	it := c.Client.Scan(ctx, 0, match, 7).Iterator()
	for it.Next(ctx) {
		keys = append(keys, it.Val())
	}
	return keys, it.Err()
}

func (c goRedis8) Pipeline(keys, values []string) ([]string, error) {
	ctx, cancel := patient()
	defer cancel()
	var reads []*redis8.StringCmd
	_, err := c.Pipelined(ctx, func(p redis8.Pipeliner) error {
		for i, k := range keys {
			p.Set(ctx, k, values[i], 0)
			reads = append(reads, p.Get(ctx, k))
		}
		return nil
	})
	var got []string
	for _, r := range reads {
		got = append(got, r.Val())
	}
	return got, err
}

func (c goRedis8) Transaction(key, value, counter string) (int64, error) {
	ctx, cancel := patient()
	defer cancel()
	var n *redis8.IntCmd
	_, err := c.TxPipelined(ctx, func(p redis8.Pipeliner) error {
		p.Set(ctx, key, value, time.Minute)
		n = p.Incr(ctx, counter)
		return nil
	})
	return n.Val(), err
}

func (c goRedis8) Increment(counter string) (bool, error) {
	ctx, cancel := patient()
	defer cancel()
	err := c.Watch(ctx, func(tx *redis8.Tx) error {
		n, err := tx.Get(ctx, counter).Int()
		if err != nil && !errors.Is(err, redis8.Nil) {
			return err
		}
		_, err = tx.TxPipelined(ctx, func(p redis8.Pipeliner) error {
			p.Set(ctx, counter, n+1, 0)
			return nil
		})
		return err
	}, counter)
	if errors.Is(err, redis8.TxFailedErr) {
		return false, nil
	}
	return err == nil, err
}

func (c goRedis8) Name() (string, error) {
	ctx, cancel := patient()
	defer cancel()
	return c.ClientGetName(ctx).Result()
}

// redigoPool drives redigo as session stores do: a pool that sends PING before each loan.
type redigoPool struct{ *redis.Pool }

func openRedigo(addr string, l login) (goClient, error) {
	return redigoPool{newRedigoPool(addr, l)}, nil
}

func newRedigoPool(addr string, l login) *redis.Pool {
	return &redis.Pool{
		MaxIdle: 4,
		Dial: func() (redis.Conn, error) {
			return redis.Dial("tcp", addr, redis.DialUsername(l.username),
				redis.DialPassword(l.password), redis.DialDatabase(l.db), redis.DialClientName(l.name),
				redis.DialReadTimeout(proc.Patience), redis.DialWriteTimeout(proc.Patience))
		},
		TestOnBorrow: func(c redis.Conn, _ time.Time) error {
			_, err := c.Do("PING")
			return err
		},
	}
}

func (c redigoPool) do(command string, args ...any) (any, error) {
	conn := c.Pool.Get()
	defer conn.Close()
	return conn.Do(command, args...)
}

func foundRedigo(reply any, err error) (string, bool, error) {
	v, err := redis.String(reply, err)
	if errors.Is(err, redis.ErrNil) {
		return "", false, nil
	}
	return v, err == nil, err
}

func (c redigoPool) Set(key, value string, ttl time.Duration) error {
	var err error
	switch {
	case ttl == 0:
		_, err = c.do("SET", key, value)
	case ttl%time.Second == 0:
		_, err = c.do("SETEX", key, int(ttl/time.Second), value)
	default:
		_, err = c.do("PSETEX", key, ttl.Milliseconds(), value)
	}
	return err
}

func (c redigoPool) SetNX(key, value string, ttl time.Duration) (bool, error) {
	_, found, err := foundRedigo(c.do("SET", key, value, "NX", "PX", ttl.Milliseconds()))
	return found, err
}

func (c redigoPool) Get(key string) (string, bool, error) { return foundRedigo(c.do("GET", key)) }

func (c redigoPool) GetEx(key string, ttl time.Duration) (string, bool, error) {
	return foundRedigo(c.do("GETEX", key, "EX", int(ttl/time.Second)))
}

func (c redigoPool) MGet(keys ...string) ([]*string, error) {
	values, err := redis.Values(c.do("MGET", redis.Args{}.AddFlat(keys)...))
	if err != nil {
		return nil, err
	}
	var out []*string
	for _, v := range values {
		if b, ok := v.([]byte); ok {
			s := string(b)
			out = append(out, &s)
		} else {
			out = append(out, nil)
		}
	}
	return out, nil
}

func (c redigoPool) Expire(key string, ttl time.Duration) (bool, error) {
	return redis.Bool(c.do("EXPIRE", key, int(ttl/time.Second)))
}

func (c redigoPool) TTL(key string) (int64, error) { return redis.Int64(c.do("PTTL", key)) }

func (c redigoPool) Del(keys ...string) (int64, error) {
	return redis.Int64(c.do("DEL", redis.Args{}.AddFlat(keys)...))
}

func (c redigoPool) Scan(match string) (all []string, err error) {
	for cursor := "0"; ; {
		page, err := redis.Values(c.do("SCAN", cursor, "MATCH", match, "COUNT", 100))
		if err != nil {
			return nil, err
		}
		var keys []string
		if _, err := redis.Scan(page, &cursor, &keys); err != nil {
			return nil, err
		}
		if all = append(all, keys...); cursor == "0" {
			return all, nil
		}
	}
}

func (c redigoPool) Pipeline(keys, values []string) (got []string, err error) {
	conn := c.Pool.Get()
	defer conn.Close()
	for i, k := range keys {
		if err := errors.Join(conn.Send("SET", k, values[i]), conn.Send("GET", k)); err != nil {
			return nil, err
		}
	}
	if err := conn.Flush(); err != nil {
		return nil, err
	}
	for range keys {
		if _, err := conn.Receive(); err != nil {
			return nil, err
		}
		v, err := redis.String(conn.Receive())
		if err != nil {
			return nil, err
		}
		got = append(got, v)
	}
	return got, nil
}

func (c redigoPool) Transaction(key, value, counter string) (int64, error) {
	conn := c.Pool.Get()
	defer conn.Close()
	if err := errors.Join(conn.Send("MULTI"), conn.Send("SET", key, value, "EX", 60), conn.Send("INCR", counter)); err != nil {
		return 0, err
	}
	replies, err := redis.Values(conn.Do("EXEC"))
	if err != nil {
		return 0, err
	}
	var ok string
	var n int64
	_, err = redis.Scan(replies, &ok, &n)
	return n, err
}

func (c redigoPool) Increment(counter string) (bool, error) {
	conn := c.Pool.Get()
	defer conn.Close()
	if _, err := conn.Do("WATCH", counter); err != nil {
		return false, err
	}
	n, err := redis.Int(conn.Do("GET", counter))
	if err != nil && !errors.Is(err, redis.ErrNil) {
		return false, err
	}
	if err := errors.Join(conn.Send("MULTI"), conn.Send("SET", counter, n+1)); err != nil {
		return false, err
	}
	reply, err := conn.Do("EXEC")
	return reply != nil, err
}

func (c redigoPool) Name() (string, error) { return redis.String(c.do("CLIENT", "GETNAME")) }

// rueidisClient drives rueidis without its client-side cache, which needs CLIENT TRACKING.
type rueidisClient struct{ rueidis.Client }

func openRueidis(addr string, l login) (goClient, error) {
	c, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{addr}, Username: l.username, Password: l.password,
		SelectDB: l.db, ClientName: l.name, DisableCache: true, DisableRetry: true,
	})
	return rueidisClient{c}, err
}

func foundRueidis(v string, err error) (string, bool, error) {
	if rueidis.IsRedisNil(err) {
		return "", false, nil
	}
	return v, err == nil, err
}

func (c rueidisClient) Set(key, value string, ttl time.Duration) error {
	ctx, cancel := patient()
	defer cancel()
	set := c.B().Set().Key(key).Value(value)
	if ttl == 0 {
		return c.Do(ctx, set.Build()).Error()
	}
	return c.Do(ctx, set.Px(ttl).Build()).Error()
}

func (c rueidisClient) SetNX(key, value string, ttl time.Duration) (bool, error) {
	ctx, cancel := patient()
	defer cancel()
	_, found, err := foundRueidis(c.Do(ctx, c.B().Set().Key(key).Value(value).Nx().Px(ttl).Build()).ToString())
	return found, err
}

func (c rueidisClient) Get(key string) (string, bool, error) {
	ctx, cancel := patient()
	defer cancel()
	return foundRueidis(c.Do(ctx, c.B().Get().Key(key).Build()).ToString())
}

func (c rueidisClient) GetEx(key string, ttl time.Duration) (string, bool, error) {
	ctx, cancel := patient()
	defer cancel()
	return foundRueidis(c.Do(ctx, c.B().Getex().Key(key).Ex(ttl).Build()).ToString())
}

func (c rueidisClient) MGet(keys ...string) ([]*string, error) {
	ctx, cancel := patient()
	defer cancel()
	replies, err := c.Do(ctx, c.B().Mget().Key(keys...).Build()).ToArray()
	var out []*string
	for _, r := range replies {
		v, found, valueErr := foundRueidis(r.ToString())
		if !found {
			out = append(out, nil)
		} else {
			out = append(out, &v)
		}
		err = errors.Join(err, valueErr)
	}
	return out, err
}

func (c rueidisClient) Expire(key string, ttl time.Duration) (bool, error) {
	ctx, cancel := patient()
	defer cancel()
	return c.Do(ctx, c.B().Expire().Key(key).Seconds(int64(ttl/time.Second)).Build()).AsBool()
}

func (c rueidisClient) TTL(key string) (int64, error) {
	ctx, cancel := patient()
	defer cancel()
	return c.Do(ctx, c.B().Pttl().Key(key).Build()).ToInt64()
}

func (c rueidisClient) Del(keys ...string) (int64, error) {
	ctx, cancel := patient()
	defer cancel()
	return c.Do(ctx, c.B().Del().Key(keys...).Build()).ToInt64()
}

func (c rueidisClient) Scan(match string) (keys []string, err error) {
	ctx, cancel := patient()
	defer cancel()
	for cursor := uint64(0); ; {
		page, err := c.Do(ctx, c.B().Scan().Cursor(cursor).Match(match).Count(50).Build()).AsScanEntry()
		if err != nil {
			return nil, err
		}
		keys = append(keys, page.Elements...)
		if cursor = page.Cursor; cursor == 0 {
			return keys, nil
		}
	}
}

func (c rueidisClient) Pipeline(keys, values []string) (got []string, err error) {
	ctx, cancel := patient()
	defer cancel()
	var batch rueidis.Commands
	for i, k := range keys {
		batch = append(batch, c.B().Set().Key(k).Value(values[i]).Build(), c.B().Get().Key(k).Build())
	}
	for i, r := range c.DoMulti(ctx, batch...) {
		v, err := r.ToString()
		if err != nil {
			return nil, err
		}
		if i%2 == 1 {
			got = append(got, v)
		}
	}
	return got, nil
}

func (c rueidisClient) Transaction(key, value, counter string) (int64, error) {
	ctx, cancel := patient()
	defer cancel()
	replies := c.DoMulti(ctx, c.B().Multi().Build(),
		c.B().Set().Key(key).Value(value).ExSeconds(60).Build(),
		c.B().Incr().Key(counter).Build(), c.B().Exec().Build())
	results, err := replies[len(replies)-1].ToArray()
	if err != nil || len(results) != 2 {
		return 0, errors.Join(err, errors.New("EXEC has "+strconv.Itoa(len(results))+" elements"))
	}
	return results[1].ToInt64()
}

func (c rueidisClient) Increment(counter string) (bool, error) {
	ctx, cancel := patient()
	defer cancel()
	done := false
	err := c.Dedicated(func(d rueidis.DedicatedClient) error {
		if err := d.Do(ctx, d.B().Watch().Key(counter).Build()).Error(); err != nil {
			return err
		}
		n, err := d.Do(ctx, d.B().Get().Key(counter).Build()).AsInt64()
		if err != nil && !rueidis.IsRedisNil(err) {
			return err
		}
		next := strconv.FormatInt(n+1, 10)
		replies := d.DoMulti(ctx, d.B().Multi().Build(), d.B().Set().Key(counter).Value(next).Build(), d.B().Exec().Build())
		err = replies[len(replies)-1].Error()
		if rueidis.IsRedisNil(err) {
			return nil
		}
		done = err == nil
		return err
	})
	return done, err
}

func (c rueidisClient) Name() (string, error) {
	ctx, cancel := patient()
	defer cancel()
	return c.Do(ctx, c.B().ClientGetname().Build()).ToString()
}

func (c rueidisClient) Close() error {
	c.Client.Close()
	return nil
}

// milliseconds undoes what go-redis does to the special replies -1 and -2, which it
// returns as that many nanoseconds.
func milliseconds(d time.Duration) int64 {
	if d < 0 {
		return int64(d)
	}
	return d.Milliseconds()
}

func orNil(values []any) []*string {
	var out []*string
	for _, v := range values {
		if s, ok := v.(string); ok {
			out = append(out, &s)
		} else {
			out = append(out, nil)
		}
	}
	return out
}
