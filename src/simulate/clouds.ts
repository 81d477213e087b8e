import type { Cloud, CloudName } from './cloud.ts'
import { ec2 } from './cloud-ec2.ts'
import { ecs } from './cloud-ecs.ts'

/** Every cloud that the simulator plays. */
export const CLOUDS: Readonly<Record<CloudName, Cloud>> = { aliyun: ecs, ec2 }
