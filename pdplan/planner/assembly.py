"""Fleets put together from what the search chose, in full or as a row among others."""

from pdplan.plan import Alternative
from pdplan.planner.context import Context
from pdplan.planner.describe import group_name, pool_name
from pdplan.planner.fleet import Fleet, Fleets, Member
from pdplan.planner.place import Placed
from pdplan.planner.splitting import Split, Splits
from pdplan.specs.write import workload_mapping


def fleet_of(context: Context, placed: Placed, whole: Context | None = None) -> Fleet:
    """Assemble the fleet that a placement's solution chose; of some classes of a whole if given."""
    context = placed.context
    scenario = (whole or context).scenario
    offers = {choice.id: choice for choice in scenario.hardware}
    classes = [kind.name for kind in context.demand.traffic.classes]
    members = tuple(
        Member(
            name=pool_name(pool.stages) if whole is None else group_name(classes, pool.stages),
            pool=pool,
            discipline=context.discipline(placed.variant),
            chunk_tokens=placed.variant.chunk_tokens,
            usd_per_gpu_hour=offers[pool.shape.hardware].usd_per_hour,
            price_source=offers[pool.shape.hardware].price_source,
            other_prices=tuple(
                (name, offers[name].usd_per_hour, offers[name].price_source)
                for name, _ in pool.shape.parts
                if name != pool.shape.hardware
            ),
        )
        for pool in placed.pools
    )
    return Fleet(
        placement=placed.placement,
        members=members,
        demand=context.demand,
        goals=context.goals,
        model_id=scenario.model_id,
        model=scenario.model,
        engine_id=scenario.engine_id,
        engine=scenario.engine,
        hardware=context.hardware,
        workload=workload_mapping(scenario),
        first_token_from=scenario.first_token_from,
        system=scenario.system,
        whole_nodes=scenario.limits.whole_nodes,
        apart=whole is not None,
    )


def fleets_of_split(context: Context, split: Split) -> Fleets:
    """Assemble the fleets of a split."""
    groups = zip(split.blocks, split.placed, strict=True)
    return Fleets(tuple(fleet_of(b.context, p, context) for b, p in groups), context.demand)


def split_row(splits: Splits) -> Alternative:
    """The best split of the classes as an alternative, or why none can be."""
    if splits.best is None:
        return Alternative(placement="own pools for classes", reason=splits.reason())
    fleets = fleets_of_split(splits.context, splits.best)
    return Alternative(
        placement=fleets.placement,
        label=fleets.label,
        cost_usd_per_hour=fleets.usd_per_hour,
        gpus=fleets.gpus,
        objective=splits.best.objective,
    )


def alternative(context: Context, placed: Placed) -> Alternative:
    """A placement as an alternative, or why it has no plan."""
    if placed.choice is None or placed.choice.columns is None:
        from pdplan.planner.infeasible import reason  # only where something fails

        return Alternative(placement=placed.placement.text, reason=reason(context, placed))
    fleets = Fleets.one(fleet_of(context, placed))
    return Alternative(
        placement=fleets.placement,
        label=fleets.label,
        cost_usd_per_hour=fleets.usd_per_hour,
        gpus=fleets.gpus,
        objective=placed.objective,
    )
