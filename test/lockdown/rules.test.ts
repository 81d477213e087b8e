import { describe, expect, test } from 'vitest'
import {
  confirmationRules,
  type Lockdown,
  lockdownRules,
  readLockdown,
  removalRules,
} from '../../src/lockdown/rules.ts'

const ENFORCE: Lockdown = {
  mode: 'enforce',
  address: '100.100.100.200',
  port: 80,
  agentUid: 990,
  listenerPort: 9180,
  observePort: 9181,
  containers: 'refuse',
}

describe('the rules of lockdown', () => {
  test('replace the table in one transaction', () => {
    expect(lockdownRules(ENFORCE)).toBe(`add table ip metabind_lockdown
delete table ip metabind_lockdown

table ip metabind_lockdown {
	set guarded {
		type ipv4_addr
		flags timeout
		elements = { 100.100.100.200 }
	}
	chain redirected {
		type nat hook output priority -100; policy accept;
		ip daddr @guarded tcp dport 80 meta skuid != 990 counter redirect to :9180
	}
	chain listener {
		type filter hook output priority 0; policy accept;
		ip daddr 127.0.0.0/8 tcp dport 9180 ct status & dnat != dnat meta skuid != 0 reject with tcp reset
		ip saddr 127.0.0.0/8 tcp sport 9180 tcp flags & (syn | ack) == syn | ack meta skuid 990 accept
		ip saddr 127.0.0.0/8 tcp sport 9180 tcp flags & (syn | ack) == syn | ack reject with tcp reset
	}
	chain refused {
		meta l4proto tcp counter reject with tcp reset
		counter reject
	}
	chain guard {
		type filter hook output priority 0; policy accept;
		ip daddr 127.0.0.0/8 tcp dport 9181 ct original ip daddr @guarded goto refused
		ip daddr @guarded meta skuid 990 accept
		ip daddr @guarded meta skuid != 990 goto refused
		ip daddr @guarded ct state != { established, related } goto refused
	}
	chain observed {
		type filter hook input priority 0; policy accept;
		ip daddr @guarded tcp dport 9181 goto refused
	}
	chain forwarded {
		type filter hook forward priority 0; policy accept;
		ip daddr @guarded goto refused
	}
}
`)
  })

  test('have a timeout in the kernel where they are to roll back', () => {
    expect(lockdownRules({ ...ENFORCE, forSeconds: 600 })).toContain(
      'elements = { 100.100.100.200 timeout 600s }',
    )
  })

  test('refuse nothing while observing', () => {
    const rules = lockdownRules({ ...ENFORCE, mode: 'observe', listenerPort: 9181 })
    expect(rules).toContain('redirect to :9181')
    expect(rules.replace(/chain listener \{[^}]*\}/, '')).not.toContain('reject')
  })

  test('leave forwarded packets alone where containers are left alone', () => {
    expect(lockdownRules({ ...ENFORCE, containers: 'leave' })).not.toContain('forward')
  })

  test('mark what containers send where somebody listens for it, and refuse the rest', () => {
    const rules = lockdownRules({ ...ENFORCE, containers: 'redirect' })
    expect(rules).toContain(`	chain containers {
		type filter hook prerouting priority -149; policy accept;
		ip daddr @guarded tcp dport 80 iifname != "lo" fib daddr . iif oif missing tcp flags & (syn | ack) == syn counter
		ip daddr @guarded tcp dport 80 iifname != "lo" fib daddr . iif oif missing ct status & dnat != dnat socket transparent 1 meta mark set 0x6d626e64
	}
`)
    expect(rules).toContain('hook forward')
  })

  test('translate nothing but what begins while observing, of containers too', () => {
    const observing = { ...ENFORCE, mode: 'observe', listenerPort: 9181 } as const
    const rules = lockdownRules({ ...observing, containers: 'redirect' })
    const begins = 'tcp flags & (syn | ack) == syn'
    expect(rules).toContain(`${begins} meta skuid != 990 counter redirect to :9181`)
    expect(rules).toContain(`${begins} counter dnat to 100.100.100.200:9181`)
    expect(lockdownRules(observing)).not.toContain('hook prerouting')
  })

  test('are confirmed and removed in one transaction each', () => {
    expect(confirmationRules('100.100.100.200')).toBe(
      'delete element ip metabind_lockdown guarded { 100.100.100.200 }\n' +
        'add element ip metabind_lockdown guarded { 100.100.100.200 }\n',
    )
    expect(removalRules()).toBe(
      'add table ip metabind_lockdown\ndelete table ip metabind_lockdown\n',
    )
  })
})

describe('what nft says is in force', () => {
  const rule = (chain: string, packets: number) => ({
    rule: {
      chain,
      expr: [
        { match: { op: '==', left: { payload: { protocol: 'ip', field: 'daddr' } }, right: '@g' } },
        { match: { op: '!=', left: { meta: { key: 'skuid' } }, right: 990 } },
        { counter: { packets, bytes: 0 } },
      ],
    },
  })
  const said = (elem: unknown, ...more: object[]) =>
    JSON.stringify({ nftables: [{ metainfo: {} }, { set: { name: 'guarded', elem } }, ...more] })

  test('for good, with its counters', () => {
    const guard = [{ chain: { name: 'redirected' } }, { chain: { name: 'guard' } }]
    const rules = [rule('redirected', 7), rule('refused', 3), rule('refused', 4)]
    expect(readLockdown(said(['100.100.100.200'], ...guard, ...rules))).toEqual({
      state: 'enforce',
      address: '100.100.100.200',
      agentUid: 990,
      secondsLeft: undefined,
      takesContainers: false,
      redirected: 7,
      refused: 7,
    })
  })

  test('with what containers send, counted together', () => {
    const chains = [{ chain: { name: 'guard' } }, { chain: { name: 'containers' } }]
    const rules = [rule('redirected', 7), rule('containers', 2)]
    expect(readLockdown(said(['100.100.100.200'], ...chains, ...rules))).toMatchObject({
      takesContainers: true,
      redirected: 9,
    })
  })

  test('for a while', () => {
    const elem = [{ elem: { val: '100.100.100.200', timeout: 600, expires: 42 } }]
    expect(readLockdown(said(elem, { chain: { name: 'redirected' } }))).toMatchObject({
      state: 'observe',
      secondsLeft: 42,
    })
  })

  test('nothing any more, once the element has timed out', () => {
    expect(readLockdown(said(undefined, { chain: { name: 'guard' } })).state).toBe('rolled-back')
  })

  test('something else is no answer', () => {
    expect(() => readLockdown('{}')).toThrow()
  })
})
