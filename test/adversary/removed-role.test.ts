/**
 * An application has once read a role's credentials. The role is taken from the instance, as the application is not to
 * have it any longer; it goes on reading from the agent's memory, and from what the agent has sealed on the disk.
 */
import { expect, test } from 'vitest'
import { APP, ATTACKER, CREDENTIALS_PATH, ownAgent } from '../harness/attack.ts'
import { eventually } from '../harness/metabind.ts'
import { readAs } from '../harness/unix-http.ts'

const OPEN = '/latest/meta-data/instance-id'
/** The agent looks each minute. */
const WAIT_MS = 110_000

test(
  'it is told that there are none, after a minute at most, and by the next agent too',
  async (context) => {
    const { instance } = await ownAgent(context)
    const { metadataSocket, cloud } = instance
    const read = () => readAs({ uid: APP }, metadataSocket, CREDENTIALS_PATH)
    expect((await read()).body).toContain('AccessKeyId')
    cloud?.setRole('other-role')
    const others: number[] = []
    const { status } = await eventually(
      async () => {
        others.push((await readAs({ uid: ATTACKER }, metadataSocket, OPEN)).status)
        return read()
      },
      ({ body }) => !body.includes('AccessKeyId'),
      WAIT_MS,
    )
    expect(status).toBe(404)
    await instance.restartAgent('SIGKILL')
    expect((await read()).status).toBe(404)
    expect([...new Set(others)]).toEqual([200])
  },
  2 * WAIT_MS,
)
