import { existsSync } from 'node:fs'
import { startLoad } from '../harness/load.ts'

/** `load-until.ts SOCKET TOKEN FILE`, in a guest: asks until there is a FILE. */
const [socketPath = '', token = '', file = ''] = process.argv.slice(2)
const load = startLoad({
  socketPath,
  // Checks the token and asks nobody else: an emulated cloud is slower than the agent's patience.
  path: '/metabind/v1/whoami',
  headers: { 'x-aliyun-ecs-metadata-token': token },
  // Few, as two emulated processors have an upgrade to do as well; but with a pause shorter than the second
  // for which nothing is asked on a kept connection before an ending agent ends it. One that rests longer
  // may meet its end by EPIPE.
  keepAlive: 2,
  fresh: 1,
  pauseMs: 50,
  // An agent that starts on a fraction of an emulated processor may need minutes: late is not lost.
  answerMsMax: 900_000,
})
while (!existsSync(file)) await new Promise((resolve) => setTimeout(resolve, 100))
process.stdout.write(JSON.stringify(await load.stop()))
