import { beforeEach, describe, expect, test } from 'vitest'
import { CHAIN_ORIGIN, decodeLine } from '../../src/audit/chain.ts'
import { type Repository, STATUS_KEPT_MS } from '../../src/registrar-repository/repository.ts'
import { enrolledRow, NOW_MS, otherRow, pendingRow } from '../registrar/enrolled.ts'

/**
 * What every repository of the registrar does, whatever is under it.
 *
 * @param open an empty one; `reopened` is another on the same data, as a replica or a later process has
 */
export function repositoryContract(
  name: string,
  open: () => Promise<{ repository: Repository; reopened: () => Promise<Repository> }>,
): void {
  describe(`${name}: the contract of repositories`, () => {
    let repository: Repository
    let reopened: () => Promise<Repository>
    beforeEach(async () => {
      const opened = await open()
      repository = opened.repository
      reopened = opened.reopened
    })
    const write = (...instances: Parameters<Repository['commit']>[0]['instances'][number][]) =>
      repository.commit({ instances, events: [] }, NOW_MS)

    /** Of a chain without a break. */
    const chainLength = async () => {
      let head = CHAIN_ORIGIN
      for (const text of await repository.events(0, 1000)) {
        const line = decodeLine(text)
        expect(line).toMatchObject({ seq: head.seq + 1, prev: head.hash })
        if (line !== undefined) head = line
      }
      return head.seq
    }

    test('an instance is found by iid, and by what it shares with others', async () => {
      const row = enrolledRow()
      expect(await write(row, otherRow(2))).toBe(true)
      expect(await repository.instance(row.iid)).toEqual(row)
      expect(await repository.instance('ff'.repeat(16))).toBeUndefined()
      const stranger = otherRow(9)
      expect(await repository.related(stranger)).toEqual([])
      for (const shared of ['iid', 'ekName', 'akName', 'instanceId'] as const) {
        expect(await repository.related({ ...stranger, [shared]: row[shared] })).toEqual([row])
      }
      // An instance id is one of a cloud.
      const elsewhere = { ...stranger, instanceId: row.instanceId, dialect: 'ec2' }
      expect(await repository.related(elsewhere)).toEqual([])
    })

    test('of two writes on one revision one is in vain, with all that belongs to it', async () => {
      await write(enrolledRow())
      const second = enrolledRow({ revision: 2, generation: 2 })
      expect(await write(second)).toBe(true)
      const late = enrolledRow({ revision: 2, generation: 99 })
      const events = [{ event: 'instance.late' }]
      expect(await repository.commit({ instances: [otherRow(2), late], events }, NOW_MS)).toBe(
        false,
      )
      expect(await repository.instance(late.iid)).toEqual(second)
      expect(await repository.instance(otherRow(2).iid)).toBeUndefined()
      expect(await repository.events(0, 10)).toEqual([])
      expect(await write(enrolledRow({ revision: 4 }))).toBe(false)
      expect(await write(enrolledRow())).toBe(false)
    })

    test('writes of two replicas on one revision: one of them is in vain', async () => {
      await write(enrolledRow())
      const replica = await reopened()
      const change = { instances: [enrolledRow({ revision: 2 })], events: [] }
      const written = await Promise.all([
        repository.commit(change, NOW_MS),
        replica.commit(change, NOW_MS),
      ])
      expect(written.toSorted()).toEqual([false, true])
    })

    test.each(['ekName', 'akName', 'instanceId'] as const)(
      'no two instances have one %s, unless one is evicted',
      async (shared) => {
        const row = enrolledRow()
        await write(row)
        const other = otherRow(2, { [shared]: row[shared] })
        expect(await write(other)).toBe(false)
        await write({ ...row, revision: 2, state: 'evicted' })
        expect(await write(other)).toBe(true)
        expect(await repository.related(other)).toEqual([other])
        // It cannot come back beside the other.
        expect(await write({ ...row, revision: 3, state: 'active' })).toBe(false)
      },
    )

    test('an evicted instance is found by its iid alone', async () => {
      const row = enrolledRow({ state: 'evicted' })
      await write(row)
      expect(await repository.related(row)).toEqual([row])
      expect(await repository.related({ ...row, iid: 'ff'.repeat(16) })).toEqual([])
    })

    test('all are listed, page by page', async () => {
      const rows = [1, 2, 3, 4, 5].map((number) => otherRow(number))
      await write(...rows.toReversed())
      const first = await repository.instances('', 2)
      expect(first).toEqual(rows.slice(0, 2))
      expect(await repository.instances(first.at(-1)?.iid ?? '', 9)).toEqual(rows.slice(2))
    })

    test('are counted by state', async () => {
      expect(await repository.states()).toEqual(new Map())
      await write(otherRow(1), otherRow(2), otherRow(3, { state: 'held' }))
      await write(otherRow(2, { revision: 2, state: 'banned' }))
      const counted = { active: 1, held: 1, banned: 1 }
      expect(Object.fromEntries(await repository.states())).toEqual(counted)
    })

    describe('strangers that nobody let in', () => {
      const stranger = (number: number, more: Parameters<typeof otherRow>[1] = {}) =>
        otherRow(number, { state: 'held', anchor: 'none', ...more })
      const add = (row: ReturnType<typeof otherRow>, strangersMax = 2, by = repository) =>
        by.commit({ instances: [row], events: [], strangersMax }, NOW_MS)
      const crowded = expect.objectContaining({ code: 'ENROL_CROWDED' })

      test('are so many at most, and one beyond is not written', async () => {
        expect(await add(stranger(1))).toBe(true)
        expect(await add(stranger(2))).toBe(true)
        await expect(add(stranger(3))).rejects.toEqual(crowded)
        expect(await repository.instance(stranger(3).iid)).toBeUndefined()
        expect(await add(stranger(3), 3)).toBe(true)
        expect(await write(stranger(1, { revision: 2 }))).toBe(true)
      })

      test('are counted also when they are suspended, and not when somebody was asked', async () => {
        await write(stranger(1, { state: 'suspended' }), stranger(2))
        await expect(add(stranger(3))).rejects.toEqual(crowded)
        for (const [at, state] of (['active', 'banned', 'evicted', 'held'] as const).entries()) {
          const anchor = state === 'held' ? 'ek-pin' : 'none'
          await write(stranger(2, { revision: at + 2, state, anchor }))
          const row = stranger(at + 10)
          expect(await add(row), state).toBe(true)
          await write({ ...row, revision: 2, state: 'evicted' })
        }
      })

      test('are so many also if two replicas add the last at the same time', async () => {
        const replica = await reopened()
        const added = await Promise.allSettled([add(stranger(1), 1), add(stranger(2), 1, replica)])
        const said = added.map((one) => (one.status === 'fulfilled' ? one.value : one.reason.code))
        expect(said.toSorted()).toEqual(['ENROL_CROWDED', true].toSorted())
        expect((await repository.states()).get('held')).toBe(1)
      })
    })

    describe('a pending enrolment', () => {
      const bounds = { pending: 3, perSource: 2 }
      const add = (fields: Parameters<typeof pendingRow>[0], nowMs = NOW_MS) =>
        repository.addPending(pendingRow(fields), bounds, nowMs)
      const numbered = (number: number, source = '192.0.2.1') => ({
        id: `0${number}`.repeat(16),
        nonce: `0${number}`.repeat(64),
        source,
      })

      test('is kept until it expires', async () => {
        expect(await add({})).toBe('added')
        const { id, expiresAtMs } = pendingRow()
        expect(await repository.pending(id, NOW_MS)).toEqual(pendingRow())
        expect(await (await reopened()).pending(id, NOW_MS)).toEqual(pendingRow())
        expect(await repository.pending(id, expiresAtMs)).toBeUndefined()
        expect(await repository.pending('ff'.repeat(16), NOW_MS)).toBeUndefined()
      })

      test('has a nonce that no other has', async () => {
        await add(numbered(1))
        expect(await add({ ...numbered(2), nonce: numbered(1).nonce })).toBe('used')
      })

      test('is one of so many, of one address and of all, until some expire', async () => {
        expect(await add(numbered(1))).toBe('added')
        expect(await add(numbered(2))).toBe('added')
        expect(await add(numbered(3))).toBe('full')
        expect(await add(numbered(4, '192.0.2.2'))).toBe('added')
        const later = pendingRow().expiresAtMs
        expect(await add({ ...numbered(5), expiresAtMs: later + 1000 }, later)).toBe('added')
      })

      test('of a source that has more makes room for a new one, until each has as much', async () => {
        await add({ ...numbered(1), expiresAtMs: NOW_MS + 900 })
        await add(numbered(2))
        await add(numbered(3, '192.0.2.2'))
        expect(await add(numbered(4, '192.0.2.3'))).toBe('added')
        // The oldest of the one that had most.
        const ids = [1, 2, 3, 4].map((number) => numbered(number).id)
        const found = await Promise.all(ids.map((id) => repository.pending(id, NOW_MS)))
        expect(found.map((one) => one !== undefined)).toEqual([false, true, true, true])
        expect(await add(numbered(5, '192.0.2.4'))).toBe('full')
        expect(await add(numbered(6, '192.0.2.3'))).toBe('full')
      })

      test('that has expired makes no room: it took none', async () => {
        const later = pendingRow().expiresAtMs
        const addLater = (number: number, source: string) =>
          repository.addPending(
            pendingRow({ ...numbered(number, source), expiresAtMs: later + number }),
            { pending: 2, perSource: 9 },
            later,
          )
        for (const number of [1, 2]) expect(await add(numbered(number))).toBe('added')
        for (const number of [3, 4]) expect(await addLater(number, '192.0.2.2')).toBe('added')
        expect(await addLater(5, '192.0.2.3')).toBe('added')
        const ids = [3, 4, 5].map((number) => numbered(number).id)
        const found = await Promise.all(ids.map((id) => repository.pending(id, later)))
        expect(found.map((one) => one !== undefined)).toEqual([false, true, true])
      })

      test('is finished once, together with what it wrote', async () => {
        await add({})
        const { id } = pendingRow()
        const finish = { id, reply: '{"iid":"…"}' }
        const change = { instances: [enrolledRow()], events: [], finish }
        expect(await repository.commit(change, NOW_MS)).toBe(true)
        expect((await repository.pending(id, NOW_MS))?.reply).toBe(finish.reply)
        const again = { instances: [otherRow(2)], events: [], finish }
        expect(await repository.commit(again, NOW_MS)).toBe(false)
        expect(await repository.instance(otherRow(2).iid)).toBeUndefined()
        // What is finished waits for nothing.
        expect(await add(numbered(1))).toBe('added')
        expect(await add(numbered(2))).toBe('added')
      })
    })

    test('a signing key is added only after the one that was the newest when it was made', async () => {
      const key = (kid: string, startsAtMs: number, kind = 'RS256') => ({
        ...{ kid, startsAtMs, kind },
        publicJwk: '{}',
        sealed: Buffer.from(kid),
      })
      expect(await repository.addSigningKey(key('a', 100), -1)).toBe(true)
      const replica = await reopened()
      expect(await replica.addSigningKey(key('b', 101), -1)).toBe(false)
      expect(await replica.addSigningKey(key('c', 101, 'ES256'), -1)).toBe(true)
      expect(await repository.addSigningKey(key('d', 200), 100)).toBe(true)
      const kids = async () => (await replica.signingKeys()).map(({ kid }) => kid)
      expect(await kids()).toEqual(['a', 'c', 'd'])
      expect((await replica.signingKeys())[0]).toEqual(key('a', 100))
      await repository.removeSigningKeys(['a', 'c'])
      expect(await kids()).toEqual(['d'])
    })

    describe('an identity token', () => {
      const iid = '01'.repeat(16)
      const id = (byte: string) => byte.repeat(32)
      const taken = (audience: string, byte: string) => {
        return { id: id(byte), expiresAtMs: NOW_MS + 1000, iid, audience }
      }

      test('is exchanged once, whoever is asked, until it has expired', async () => {
        const replica = await reopened()
        expect(await repository.exchange(taken('a', 'ab'), NOW_MS)).toBe(true)
        expect(await replica.exchange(taken('b', 'ab'), NOW_MS + 999)).toBe(false)
        expect(await replica.exchange(taken('a', 'cd'), NOW_MS + 5)).toBe(true)
        expect(await repository.uses(iid)).toEqual([
          { audience: 'a', tokens: 2, lastAtMs: NOW_MS + 5 },
        ])
        expect(await repository.uses('ff'.repeat(16))).toEqual([])
        const later = { ...taken('a', 'ab'), expiresAtMs: NOW_MS + 2000 }
        expect(await replica.exchange(later, NOW_MS + 1000)).toBe(true)
      })

      test('and a proof are taken once each, whoever is asked, until they have expired', async () => {
        const replica = await reopened()
        const proof = { id: id('01'), expiresAtMs: NOW_MS + 1000 }
        expect(await repository.takeOnce(proof, NOW_MS)).toBe(true)
        expect(await replica.takeOnce(proof, NOW_MS + 999)).toBe(false)
        expect(await replica.exchange(taken('a', '01'), NOW_MS + 999)).toBe(false)
        expect(await replica.takeOnce({ ...proof, id: id('02') }, NOW_MS)).toBe(true)
        const later = { ...proof, expiresAtMs: NOW_MS + 2000 }
        expect(await repository.takeOnce(later, NOW_MS + 1000)).toBe(true)
        expect(await repository.takeOnce(later, NOW_MS + 1999)).toBe(false)
        expect(await repository.uses(iid)).toEqual([])
      })

      test('and what is kept until a time is there, and later if it is kept again', async () => {
        const replica = await reopened()
        expect(await replica.keptUntil('restored')).toBeUndefined()
        await repository.keepUntil('restored', NOW_MS + 1000)
        await repository.keepUntil('restored', NOW_MS + 3000)
        expect(await replica.keptUntil('restored')).toBe(NOW_MS + 3000)
      })
    })

    describe('the index in the status list', () => {
      const one = enrolledRow()
      const other = otherRow(2)

      test('is one for each instance that was given a token, the same at every replica', async () => {
        const replica = await reopened()
        await write(one, other)
        expect(await repository.statuses()).toEqual({ count: 0, revoked: [] })
        expect(await repository.statusIndex(one.iid, NOW_MS)).toBe(0)
        expect(await replica.statusIndex(other.iid, NOW_MS)).toBe(1)
        expect(await replica.statusIndex(one.iid, NOW_MS + 9)).toBe(0)
        expect(await repository.statuses()).toEqual({ count: 2, revoked: [] })
      })

      test('is one if two replicas are asked at the same time', async () => {
        const replica = await reopened()
        await write(one, other)
        const asked = [one, other, one, other].map(({ iid }, at) =>
          (at < 2 ? repository : replica).statusIndex(iid, NOW_MS),
        )
        const [first, second, ...again] = await Promise.all(asked)
        expect(again).toEqual([first, second])
        expect([first, second].toSorted()).toEqual([0, 1])
      })

      test.each(['suspended', 'evicted', 'banned', 'held'] as const)(
        'is revoked with the state: %s',
        async (state) => {
          await write(one, other)
          await repository.statusIndex(one.iid, NOW_MS)
          await repository.statusIndex(other.iid, NOW_MS)
          await write({ ...one, revision: 2, state })
          expect(await repository.statusIndex(one.iid, NOW_MS)).toBeUndefined()
          expect(await repository.statuses()).toEqual({ count: 2, revoked: [0] })
          // What was given before stays revoked, also if it goes on.
          await write({ ...one, revision: 3, state: 'active' })
          expect(await repository.statusIndex(one.iid, NOW_MS)).toBe(2)
          expect(await repository.statuses()).toEqual({ count: 3, revoked: [0] })
        },
      )

      test('is given to another when everything that it stood for is long over', async () => {
        await write(one, other)
        await repository.statusIndex(one.iid, NOW_MS)
        await write({ ...one, revision: 2, state: 'banned' })
        expect(await repository.statusIndex(other.iid, NOW_MS + STATUS_KEPT_MS)).toBe(0)
        expect(await repository.statuses()).toEqual({ count: 1, revoked: [] })
      })

      test('is not given to another before', async () => {
        await write(one, other)
        await repository.statusIndex(one.iid, NOW_MS)
        await write({ ...one, revision: 2, state: 'banned' })
        expect(await repository.statusIndex(other.iid, NOW_MS + STATUS_KEPT_MS - 1)).toBe(1)
      })

      test('is nobody’s who is not active, or not there', async () => {
        await write({ ...one, state: 'held' })
        expect(await repository.statusIndex(one.iid, NOW_MS)).toBeUndefined()
        expect(await repository.statusIndex(other.iid, NOW_MS)).toBeUndefined()
        expect(await repository.statuses()).toEqual({ count: 0, revoked: [] })
      })
    })

    test('events are a chain, also over two replicas', async () => {
      const replica = await reopened()
      for (const [at, one] of [repository, replica, repository].entries()) {
        await one.commit(
          {
            instances: [],
            events: [
              { event: 'a', at },
              { event: 'b', at },
            ],
          },
          NOW_MS,
        )
      }
      expect(await chainLength()).toBe(7)
      expect(await repository.events(6, 100)).toHaveLength(1)
      expect(await repository.events(0, 2)).toHaveLength(2)
    })

    test('checkpoints have numbers in their order, and of an event one by the same keys', async () => {
      const replica = await reopened()
      const [first, second] = [
        { seq: 5, keys: 'a', jws: 'x' },
        { seq: 5, keys: 'a b', jws: 'y' },
      ]
      expect(await repository.lastCheckpoint()).toBeUndefined()
      expect(await repository.addCheckpoint(first)).toBe(true)
      expect(await replica.addCheckpoint({ ...first, jws: 'z' })).toBe(false)
      expect(await replica.addCheckpoint(second)).toBe(true)
      const all = [
        { ...first, number: 1 },
        { ...second, number: 2 },
      ]
      expect(await replica.checkpoints(0, 9)).toEqual(all)
      expect(await repository.checkpoints(0, 1)).toEqual(all.slice(0, 1))
      expect(await repository.checkpoints(1, 9)).toEqual(all.slice(1))
      expect(await repository.lastCheckpoint()).toEqual(all[1])
    })

    describe('two replicas that write at the same time', () => {
      const TIMES = 12
      const numbers = Array.from({ length: TIMES }, (_, at) => at + 1)
      let both: readonly Repository[]
      beforeEach(async () => {
        both = [repository, await reopened()]
      })
      /** Each number by both of them, all of it at once. @returns what each gave, sorted */
      const atOnce = async <T>(act: (one: Repository, number: number) => Promise<T>) =>
        (await Promise.all(numbers.flatMap((number) => both.map((one) => act(one, number))))).sort()
      const half = <T>(one: T, other: T) => [...numbers.map(() => one), ...numbers.map(() => other)]

      test('continue one chain, each event of which is that of a write', async () => {
        const wrote = await atOnce((one, number) => {
          const change = { instances: [otherRow(number)], events: [{ event: 'a', number }] }
          return one.commit(change, NOW_MS)
        })
        expect(wrote).toEqual(half(false, true))
        expect(await chainLength()).toBe(1 + TIMES)
      })

      test('exchange each identity token once', async () => {
        const exchanged = { expiresAtMs: NOW_MS + 1000, iid: '01'.repeat(16), audience: 'a' }
        const done = await atOnce((one, number) => {
          const id = number.toString(16).padStart(64, '0')
          return one.exchange({ ...exchanged, id }, NOW_MS)
        })
        expect(done).toEqual(half(false, true))
        expect((await repository.uses(exchanged.iid))[0]?.tokens).toBe(TIMES)
      })

      test('let as many enrolments wait as may, and no more', async () => {
        const added = await atOnce((one, number) => {
          const digits = number.toString(16).padStart(2, '0')
          const side = both.indexOf(one)
          const id = `${side}0${digits}`.repeat(8)
          // Of one source: of two, the one that has less would take places of the other.
          const row = pendingRow({ id, nonce: id.repeat(4) })
          return one.addPending(row, { pending: TIMES, perSource: 2 * TIMES }, NOW_MS)
        })
        expect(added).toEqual(half('added', 'full'))
      })

      test('change instances together, and wait for each other in no circle', async () => {
        const rows = [otherRow(1), otherRow(2)]
        await write(...rows)
        const wrote = await atOnce((one) => {
          const instances = rows.map((row) => ({ ...row, revision: 2 }))
          const ordered = one === repository ? instances : instances.toReversed()
          return one.commit({ instances: ordered, events: [] }, NOW_MS)
        })
        expect(wrote.filter((is) => is)).toEqual([true])
      })

      test('add each checkpoint once, with a number of its own', async () => {
        const added = await atOnce((one, number) =>
          one.addCheckpoint({ seq: number, keys: 'a', jws: `${number}` }),
        )
        expect(added).toEqual(half(false, true))
        const stored = await repository.checkpoints(0, 100)
        expect(stored.map(({ number }) => number)).toEqual(numbers)
      })

      test('make one signing key, and not two', async () => {
        const made = await atOnce((one, number) => {
          const kid = `${both.indexOf(one)}-${number}`
          const key = { kid, startsAtMs: 100 + number, kind: 'RS256', publicJwk: '{}' }
          return one.addSigningKey({ ...key, sealed: Buffer.from(kid) }, 99)
        })
        expect(made.filter((is) => is)).toEqual([true])
        expect(await repository.signingKeys()).toHaveLength(1)
      })
    })
  })
}
